// Package loglevel makes the operator log as much as spec.operatorLogLevel of Config/cluster asks for, while
// it runs.
//
// In: events of Config. Out: calls of the function that sets the verbosity of the process, on the klog scale
// 2, 4, 6, 8, only when it changes. It writes nothing to the cluster. Without a Config it leaves the
// verbosity as it is. That 8 shows no bodies of requests is the care of package logging.
package loglevel

import (
	"context"
	"fmt"

	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/render"
)

// Watch follows Config. Events come one after the other, so no lock is needed.
func Watch(ctx context.Context, configs cache.SharedIndexInformer, set func(verbosity int)) error {
	current := -1
	follow := func(object any) {
		config, ok := object.(*registryv1.Config)
		if !ok || config.Name != registryv1.SingletonName {
			return
		}
		wanted := render.Verbosity(config.Spec.OperatorLogLevel)
		if wanted == current {
			return
		}
		current = wanted
		set(wanted)
		klog.FromContext(ctx).Info("Log level set", "level", config.Spec.OperatorLogLevel, "verbosity", wanted)
	}
	_, err := configs.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    follow,
		UpdateFunc: func(_, after any) { follow(after) },
	})
	if err != nil {
		return fmt.Errorf("log level: watch Config: %w", err)
	}
	return nil
}

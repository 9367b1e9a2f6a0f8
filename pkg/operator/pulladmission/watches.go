package pulladmission

import (
	"context"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"image.alauda.io/registry/pkg/operator/render"
)

// watches tell of changes of the two objects, in the version that is served at the time. They keep the two
// objects and no others. It is used by one sync at a time.
type watches struct {
	ctx     context.Context
	onEvent func()
	version string
	cancel  context.CancelFunc
	group   sync.WaitGroup
}

// follow watches one version and no longer the former one; with an empty version it watches nothing.
func (w *watches) follow(client dynamic.Interface, version string) {
	if version == w.version || w.ctx == nil {
		return
	}
	w.end()
	w.version = version
	if version == "" {
		return
	}
	ctx, cancel := context.WithCancel(w.ctx)
	w.cancel = cancel
	for _, resource := range []string{policies, bindings} {
		gvr := schema.GroupVersionResource{Group: render.PullAdmissionGroup, Version: version, Resource: resource}
		informer := dynamicinformer.NewFilteredDynamicInformer(client, gvr, metav1.NamespaceAll, 0, cache.Indexers{}, func(list *metav1.ListOptions) {
			list.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, theName).String()
		}).Informer()
		_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc: func(any) { w.onEvent() }, UpdateFunc: func(any, any) { w.onEvent() }, DeleteFunc: func(any) { w.onEvent() },
		})
		if err != nil {
			klog.FromContext(ctx).Error(err, "Watch failed", "controller", controllerName, "resource", gvr.Resource)
			continue
		}
		w.group.Go(func() { informer.Run(ctx.Done()) })
	}
}

// end stops watching and waits for it.
func (w *watches) end() {
	if w.cancel != nil {
		w.cancel()
		w.cancel = nil
	}
	w.group.Wait()
	w.version = ""
}

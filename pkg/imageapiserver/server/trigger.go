package server

import (
	"fmt"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"

	"image.alauda.io/registry/pkg/imageapiserver/controllers"
	"image.alauda.io/registry/pkg/imageapiserver/controllers/trigger"
)

// imageTrigger builds the controller that lets workloads follow tags.
func imageTrigger(b *background) (controllers.Controller, error) {
	meta, err := metadata.NewForConfig(b.config.generic.ClientConfig)
	if err != nil {
		return nil, fmt.Errorf("client for metadata: %w", err)
	}
	workloads, err := dynamic.NewForConfig(b.config.generic.ClientConfig)
	if err != nil {
		return nil, fmt.Errorf("client for workloads: %w", err)
	}
	return trigger.New(trigger.Options{
		Streams:       b.streams,
		Metadata:      meta,
		Workloads:     workloads,
		AccessReviews: b.config.client.AuthorizationV1().SubjectAccessReviews(),
		Events:        b.config.events,
	})
}

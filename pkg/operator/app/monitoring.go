package app

import (
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"

	"image.alauda.io/client-go/clientset/versioned"
	"image.alauda.io/registry/pkg/operator/apply"
	monitors "image.alauda.io/registry/pkg/operator/monitoring"
)

// newMonitoring makes what lets others watch the registry.
func (c *controllers) newMonitoring(typed versioned.Interface, untyped dynamic.Interface, applier *apply.Applier) error {
	var err error
	c.monitoring, err = monitors.New(monitors.Options{
		Dynamic: untyped, Applier: applier, Configs: c.configs, Settings: c.o.Settings,
	})
	if err != nil {
		return err
	}
	c.streamTags, err = monitors.NewStreamTags(monitors.StreamTagsOptions{
		Streams: typed.ImageV1(), Available: c.imageAPIAvailable, Namespace: c.o.Settings.Namespace, Registerer: c.registry,
	})
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	return nil
}

// imageAPIAvailable asks the cache whether the Image API is served.
func (c *controllers) imageAPIAvailable() bool {
	service := c.owned.Get(apply.Ref{Kind: "APIService", Name: "v1.image.alauda.io"})
	if service == nil {
		return false
	}
	conditions, _, _ := unstructured.NestedSlice(service.Object, "status", "conditions")
	for _, entry := range conditions {
		condition, ok := entry.(map[string]any)
		if ok && condition["type"] == "Available" && condition["status"] == "True" {
			return true
		}
	}
	return false
}

func (c *controllers) metricsHandler() http.Handler {
	return promhttp.HandlerFor(monitors.Gatherer(c.registry), promhttp.HandlerOpts{Timeout: 10 * time.Second})
}

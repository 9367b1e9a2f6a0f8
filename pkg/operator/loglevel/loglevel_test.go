package loglevel

import (
	"context"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	registryv1 "image.alauda.io/api/imageregistry/v1"
)

// handlers is an informer that hands its handler to the test.
type handlers struct {
	cache.SharedIndexInformer
	added cache.ResourceEventHandler
}

func (h *handlers) AddEventHandler(handler cache.ResourceEventHandler) (cache.ResourceEventHandlerRegistration, error) {
	h.added = handler
	return nil, nil
}

func config(name string, level registryv1.LogLevel) *registryv1.Config {
	c := &registryv1.Config{ObjectMeta: metav1.ObjectMeta{Name: name}}
	c.Spec.OperatorLogLevel = level
	return c
}

// Behaviour 32: the mapping of levels, for the operator itself.
func TestVerbosityFollowsTheConfigAndIsSetOnlyWhenItChanges(t *testing.T) {
	informer := &handlers{}
	var set []int
	if err := Watch(context.Background(), informer, func(verbosity int) { set = append(set, verbosity) }); err != nil {
		t.Fatal(err)
	}
	informer.added.OnAdd(config("other", registryv1.LogTraceAll), true)
	informer.added.OnAdd("something else", true)
	informer.added.OnAdd(config(registryv1.SingletonName, registryv1.LogNormal), true)
	for _, level := range []registryv1.LogLevel{registryv1.LogNormal, registryv1.LogDebug, registryv1.LogDebug, registryv1.LogTrace, registryv1.LogTraceAll, registryv1.LogNormal} {
		informer.added.OnUpdate(nil, config(registryv1.SingletonName, level))
	}
	informer.added.OnDelete(config(registryv1.SingletonName, registryv1.LogNormal))
	if want := []int{2, 4, 6, 8, 2}; !slices.Equal(set, want) {
		t.Errorf("verbosities %v, want %v", set, want)
	}
}

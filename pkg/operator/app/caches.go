package app

import (
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	registryv1 "image.alauda.io/api/imageregistry/v1"
)

// caches says whether every cache of the process is filled. It exists before them, so that the probes are
// answered from the first moment.
type caches struct {
	mu     sync.Mutex
	synced []func() bool
}

func newCaches() *caches { return &caches{} }

func (c *caches) add(synced ...func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.synced = append(c.synced, synced...)
}

// ready is false until something was added.
func (c *caches) ready() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, synced := range c.synced {
		if !synced() {
			return false
		}
	}
	return len(c.synced) > 0
}

// trim drops what no controller reads from objects of the whole cluster: a Node is large and changes often.
func trim(object any) (any, error) {
	if accessor, ok := object.(metav1.ObjectMetaAccessor); ok {
		accessor.GetObjectMeta().SetManagedFields(nil)
	}
	switch object := object.(type) {
	case *corev1.Namespace:
		return trimNamespace(object), nil
	case *corev1.Node:
		trimNode(object)
	}
	return object, nil
}

// trimNamespace keeps what tells whether a namespace is served. Users label and annotate their namespaces as much as
// they like, and there are thousands.
func trimNamespace(namespace *corev1.Namespace) *corev1.Namespace {
	kept := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: namespace.Name, UID: namespace.UID, ResourceVersion: namespace.ResourceVersion, DeletionTimestamp: namespace.DeletionTimestamp,
	}}
	if value, labelled := namespace.Labels[registryv1.IgnoreLabel]; labelled {
		kept.Labels = map[string]string{registryv1.IgnoreLabel: value}
	}
	return kept
}

func trimNode(node *corev1.Node) {
	node.Annotations = nil
	node.Spec = corev1.NodeSpec{}
	node.Status = corev1.NodeStatus{NodeInfo: corev1.NodeSystemInfo{ContainerRuntimeVersion: node.Status.NodeInfo.ContainerRuntimeVersion}}
}

// forgetToken drops the content of pull secrets: the operand namespace has some unless it is ignored, and no
// token stays in memory.
func forgetToken(object any) (any, error) {
	accessor, ok := object.(metav1.Object)
	if !ok || accessor.GetLabels()[registryv1.ManagedPullSecretLabel] == "" {
		return object, nil
	}
	switch secret := object.(type) {
	case *corev1.Secret:
		secret.Data = nil
	case *unstructured.Unstructured:
		delete(secret.Object, "data")
	}
	return object, nil
}

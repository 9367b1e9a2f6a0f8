package render

import (
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/manifests"
)

// Modes of the agents on the nodes.
const (
	NodeModeSync    = "sync"
	NodeModeCleanup = "cleanup"
	// NodeModeVariable carries the mode into the Pods.
	NodeModeVariable = "NODE_CA_MODE"
)

// NodeCADaemonSet is the whole DaemonSet node-ca. In mode cleanup every agent takes away what it wrote and
// becomes ready when its node is clean. That roll takes all nodes at once: nothing is served that a gap could
// hurt, and with the usual pace one node that nobody reaches would keep the agents of the others as they are.
func NodeCADaemonSet(s Settings, mode string) (*unstructured.Unstructured, error) {
	daemon, err := typed[appsv1.DaemonSet](s, manifests.NodeCA, "daemonset.yaml")
	if err != nil {
		return nil, err
	}
	pod := &daemon.Spec.Template.Spec
	pod.PriorityClassName = s.PriorityClass
	container := &pod.Containers[0]
	container.Image = s.Images.NodeCA
	for i := range container.Env {
		if container.Env[i].Name == NodeModeVariable {
			container.Env[i].Value = mode
		}
	}
	if mode == NodeModeCleanup {
		daemon.Spec.UpdateStrategy.RollingUpdate.MaxUnavailable = ptr.To(intstr.FromString("100%"))
	}
	setAnnotations(&daemon.ObjectMeta, map[string]string{registryv1.VersionAnnotation: s.Version})
	return untyped(daemon)
}

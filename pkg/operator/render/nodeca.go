package render

import (
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/manifests"
)

// Modes of the agents on the nodes.
const (
	NodeModeSync    = "sync"
	NodeModeCleanup = "cleanup"
)

// NodeCADaemonSet is the whole DaemonSet node-ca. In mode cleanup every agent takes away what it wrote and
// becomes ready when its node is clean.
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
		if container.Env[i].Name == "NODE_CA_MODE" {
			container.Env[i].Value = mode
		}
	}
	setAnnotations(&daemon.ObjectMeta, map[string]string{registryv1.VersionAnnotation: s.Version})
	return untyped(daemon)
}

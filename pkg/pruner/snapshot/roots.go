package snapshot

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
)

// Root is a kind of objects that use images.
type Root struct {
	Group, Resource string
	list            func(kubernetes.Interface) listFunc
}

// Roots are the built-in kinds whose objects protect images. Each of them must be listable.
func Roots() []Root {
	all := metav1.NamespaceAll
	return []Root{
		{"", "pods", func(c kubernetes.Interface) listFunc { return of(c.CoreV1().Pods(all).List) }},
		{"", "replicationcontrollers", func(c kubernetes.Interface) listFunc { return of(c.CoreV1().ReplicationControllers(all).List) }},
		{"", "podtemplates", func(c kubernetes.Interface) listFunc { return of(c.CoreV1().PodTemplates(all).List) }},
		{"apps", "replicasets", func(c kubernetes.Interface) listFunc { return of(c.AppsV1().ReplicaSets(all).List) }},
		{"apps", "deployments", func(c kubernetes.Interface) listFunc { return of(c.AppsV1().Deployments(all).List) }},
		{"apps", "daemonsets", func(c kubernetes.Interface) listFunc { return of(c.AppsV1().DaemonSets(all).List) }},
		{"apps", "statefulsets", func(c kubernetes.Interface) listFunc { return of(c.AppsV1().StatefulSets(all).List) }},
		{"apps", "controllerrevisions", func(c kubernetes.Interface) listFunc { return of(c.AppsV1().ControllerRevisions(all).List) }},
		{"batch", "jobs", func(c kubernetes.Interface) listFunc { return of(c.BatchV1().Jobs(all).List) }},
		{"batch", "cronjobs", func(c kubernetes.Interface) listFunc { return of(c.BatchV1().CronJobs(all).List) }},
	}
}

// of gives a typed list call its general form.
func of[T runtime.Object](list func(context.Context, metav1.ListOptions) (T, error)) listFunc {
	return func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		return list(ctx, options)
	}
}

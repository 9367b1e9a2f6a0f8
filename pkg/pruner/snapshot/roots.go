package snapshot

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
)

type watchFunc func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error)

// Root is a kind of objects that use images.
type Root struct {
	Group, Resource string
	list            func(kubernetes.Interface) listFunc
	watch           func(kubernetes.Interface) watchFunc
}

// Roots are the built-in kinds whose objects protect images. Each of them must be listable.
func Roots() []Root {
	all := metav1.NamespaceAll
	return []Root{
		{"", "pods", func(c kubernetes.Interface) listFunc { return of(c.CoreV1().Pods(all).List) },
			func(c kubernetes.Interface) watchFunc { return c.CoreV1().Pods(all).Watch }},
		{"", "replicationcontrollers", func(c kubernetes.Interface) listFunc { return of(c.CoreV1().ReplicationControllers(all).List) },
			func(c kubernetes.Interface) watchFunc { return c.CoreV1().ReplicationControllers(all).Watch }},
		{"", "podtemplates", func(c kubernetes.Interface) listFunc { return of(c.CoreV1().PodTemplates(all).List) },
			func(c kubernetes.Interface) watchFunc { return c.CoreV1().PodTemplates(all).Watch }},
		{"apps", "replicasets", func(c kubernetes.Interface) listFunc { return of(c.AppsV1().ReplicaSets(all).List) },
			func(c kubernetes.Interface) watchFunc { return c.AppsV1().ReplicaSets(all).Watch }},
		{"apps", "deployments", func(c kubernetes.Interface) listFunc { return of(c.AppsV1().Deployments(all).List) },
			func(c kubernetes.Interface) watchFunc { return c.AppsV1().Deployments(all).Watch }},
		{"apps", "daemonsets", func(c kubernetes.Interface) listFunc { return of(c.AppsV1().DaemonSets(all).List) },
			func(c kubernetes.Interface) watchFunc { return c.AppsV1().DaemonSets(all).Watch }},
		{"apps", "statefulsets", func(c kubernetes.Interface) listFunc { return of(c.AppsV1().StatefulSets(all).List) },
			func(c kubernetes.Interface) watchFunc { return c.AppsV1().StatefulSets(all).Watch }},
		{"apps", "controllerrevisions", func(c kubernetes.Interface) listFunc { return of(c.AppsV1().ControllerRevisions(all).List) },
			func(c kubernetes.Interface) watchFunc { return c.AppsV1().ControllerRevisions(all).Watch }},
		{"batch", "jobs", func(c kubernetes.Interface) listFunc { return of(c.BatchV1().Jobs(all).List) },
			func(c kubernetes.Interface) watchFunc { return c.BatchV1().Jobs(all).Watch }},
		{"batch", "cronjobs", func(c kubernetes.Interface) listFunc { return of(c.BatchV1().CronJobs(all).List) },
			func(c kubernetes.Interface) watchFunc { return c.BatchV1().CronJobs(all).Watch }},
	}
}

// of gives a typed list call its general form.
func of[T runtime.Object](list func(context.Context, metav1.ListOptions) (T, error)) listFunc {
	return func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		return list(ctx, options)
	}
}

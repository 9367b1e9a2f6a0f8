package quota_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/cache"
	cachetesting "k8s.io/client-go/tools/cache/testing"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/limits"
	"image.alauda.io/registry/pkg/imageapiserver/quota"
	"image.alauda.io/registry/pkg/imageapiserver/quota/quotatest"
)

const ns = "team-a"

// cluster holds quotas as kube-apiserver does.
type cluster struct {
	t      *testing.T
	client *fake.Clientset
	quotas *quotatest.Quotas
}

func newCluster(t *testing.T, objects ...runtime.Object) *cluster {
	t.Helper()
	client := fake.NewClientset(objects...)
	return &cluster{t: t, client: client, quotas: quotatest.Guard(client)}
}

// hard makes a quota with names and amounts.
func hard(name string, pairs ...string) *corev1.ResourceQuota {
	made := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name, ResourceVersion: "1", UID: "1"}}
	made.Spec.Hard = list(pairs...)
	return made
}

func list(pairs ...string) corev1.ResourceList {
	made := corev1.ResourceList{}
	for i := 0; i < len(pairs); i += 2 {
		made[corev1.ResourceName(pairs[i])] = resource.MustParse(pairs[i+1])
	}
	return made
}

// replica is one process: a gate with its own informers and index.
type replica struct {
	*quota.Gate
	index   *quota.Index
	streams *cachetesting.FakeControllerSource
}

func (c *cluster) replica(streams ...*imageapi.ImageStream) *replica {
	c.t.Helper()
	factory := informers.NewSharedInformerFactory(c.client, 0)
	r := &replica{index: quota.NewIndex(), streams: cachetesting.NewFakeControllerSource()}
	r.Gate = quota.NewGate(quota.Options{
		Index: r.index, Quotas: factory.Core().V1().ResourceQuotas(),
		LimitRanges: limits.NewRanges(factory.Core().V1().LimitRanges()), Client: c.client.CoreV1(),
	})
	for _, stream := range streams {
		r.streams.Add(stream)
	}
	informer := cache.NewSharedIndexInformer(listThenWatch{r.streams}, &imageapi.ImageStream{}, 0, cache.Indexers{})
	if err := r.index.Feed(informer); err != nil {
		c.t.Fatal(err)
	}
	factory.Start(c.t.Context().Done())
	factory.WaitForCacheSync(c.t.Context().Done())
	go informer.RunWithContext(c.t.Context())
	if !cache.WaitForCacheSync(c.t.Context().Done(), r.index.HasSynced) {
		c.t.Fatal("the index is not fed")
	}
	return r
}

// listThenWatch tells reflectors that the source does not send its state through a watch.
type listThenWatch struct {
	*cachetesting.FakeControllerSource
}

// IsWatchListSemanticsUnSupported is asked by client-go.
func (listThenWatch) IsWatchListSemanticsUnSupported() bool { return true }

// used reads what a quota says.
func (c *cluster) used(name string, resourceName corev1.ResourceName) int64 {
	c.t.Helper()
	current, err := c.client.CoreV1().ResourceQuotas(ns).Get(c.t.Context(), name, metav1.GetOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	amount := current.Status.Used[resourceName]
	return amount.Value()
}

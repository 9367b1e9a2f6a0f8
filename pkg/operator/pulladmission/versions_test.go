package pulladmission

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	fakediscovery "k8s.io/client-go/discovery/fake"
	"k8s.io/client-go/dynamic/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/cache"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/render"
)

// serving is a controller on an API server that serves the resources in the versions, with the objects there.
func serving(t *testing.T, resources map[string][]string, objects ...runtime.Object) (*Controller, *fake.FakeDynamicClient, *clienttesting.Fake) {
	t.Helper()
	kinds := map[schema.GroupVersionResource]string{}
	for _, version := range versions {
		group := schema.GroupVersion{Group: render.PullAdmissionGroup, Version: version}
		kinds[group.WithResource(policies)], kinds[group.WithResource(bindings)] = "MutatingAdmissionPolicyList", "MutatingAdmissionPolicyBindingList"
	}
	client := fake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), kinds, objects...)
	api := &clienttesting.Fake{}
	for version, names := range resources {
		list := &metav1.APIResourceList{GroupVersion: render.PullAdmissionGroup + "/" + version}
		for _, name := range names {
			list.APIResources = append(list.APIResources, metav1.APIResource{Name: name})
		}
		api.Resources = append(api.Resources, list)
	}
	c, err := New(Options{
		Client: client, Discovery: &fakediscovery.FakeDiscovery{Fake: api}, Settings: render.Settings{Namespace: "ns"},
		Configs: cache.NewSharedIndexInformer(&cache.ListWatch{}, &registryv1.Config{}, 0, cache.Indexers{}),
	})
	if err != nil {
		t.Fatal(err)
	}
	return c, client, api
}

// Behaviour 72. An API server that serves only one of the two kinds, an older version, or none, is asked for nothing
// that it does not have, and nothing fails.
func TestTheVersionThatIsServedIsUsed(t *testing.T) {
	both := []string{policies, bindings}
	for name, test := range map[string]struct {
		resources map[string][]string
		want      string
	}{
		"v1":                    {map[string][]string{"v1": both, "v1beta1": both}, "v1"},
		"v1 of other kinds":     {map[string][]string{"v1": {"validatingwebhookconfigurations"}, "v1beta1": both}, "v1beta1"},
		"v1 without bindings":   {map[string][]string{"v1": {policies}}, ""},
		"alpha only":            {map[string][]string{"v1alpha1": both}, ""},
		"an older group":        {map[string][]string{"v1": {"validatingwebhookconfigurations"}}, ""},
		"nothing of this group": {nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c, client, _ := serving(t, test.resources)
			if got, err := c.served(); err != nil || got != test.want {
				t.Fatalf("version %q, error %v, want %q", got, err, test.want)
			}
			if after, err := c.sync(context.Background()); err != nil || after != lookAgain {
				t.Errorf("looks again after %s, error %v", after, err)
			}
			for _, action := range client.Actions() {
				if action.GetResource().Version != test.want || test.want == "" {
					t.Errorf("request %s %v", action.GetVerb(), action.GetResource())
				}
			}
		})
	}
	c, client, api := serving(t, map[string][]string{"v1": both})
	api.PrependReactor("get", "resource", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, errors.New("unavailable") })
	if _, err := c.sync(context.Background()); err == nil || !strings.Contains(err.Error(), render.PullAdmissionGroup) || len(client.Actions()) > 0 {
		t.Errorf("error %v, requests %v: what is not known is not acted upon", err, client.Actions())
	}
}

// Behaviour 72. A policy that stays names Secrets that nobody makes any more: it goes also when its labels are lost.
func TestAPolicyWithoutItsLabelsIsRemoved(t *testing.T) {
	object := func(kind, manager string) *unstructured.Unstructured {
		out := &unstructured.Unstructured{}
		out.SetAPIVersion(render.PullAdmissionGroup + "/v1")
		out.SetKind(kind)
		out.SetName(theName)
		out.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: manager, Operation: metav1.ManagedFieldsOperationApply, FieldsType: "FieldsV1",
			FieldsV1: metav1.NewFieldsV1(`{"f:spec":{"f:policyName":{}}}`)}})
		return out
	}
	c, client, _ := serving(t, nil, object("MutatingAdmissionPolicy", "somebody"), object("MutatingAdmissionPolicyBinding", registryv1.OperatorName))
	if err := c.remove(t.Context(), "v1"); err != nil {
		t.Fatal(err)
	}
	var deleted []string
	for _, action := range client.Actions() {
		if action.GetVerb() == "delete" {
			deleted = append(deleted, action.GetResource().Resource)
		}
	}
	if len(deleted) != 1 || deleted[0] != bindings {
		t.Errorf("deleted %q, want the operator's own only", deleted)
	}
}

// listThenWatch tells the informer that its source does not send its state through a watch.
type listThenWatch struct{ *cache.ListWatch }

func (listThenWatch) IsWatchListSemanticsUnSupported() bool { return true }

// While API servers of two versions answer in turn, one of them does not know what the other one serves. That is no
// end: the policy is to come when both do.
func TestAKindThatIsNotFoundIsTriedAgain(t *testing.T) {
	c, client, _ := serving(t, map[string][]string{"v1": {policies, bindings}})
	config := registryv1.Config{ObjectMeta: metav1.ObjectMeta{Name: registryv1.SingletonName}}
	config.Spec.ManagementState = registryv1.Managed
	options := c.Options
	options.Configs = cache.NewSharedIndexInformer(listThenWatch{&cache.ListWatch{
		ListWithContextFunc: func(context.Context, metav1.ListOptions) (runtime.Object, error) {
			return &registryv1.ConfigList{Items: []registryv1.Config{config}}, nil
		},
		WatchFuncWithContext: func(context.Context, metav1.ListOptions) (watch.Interface, error) { return watch.NewFake(), nil },
	}}, &registryv1.Config{}, 0, cache.Indexers{})
	c, err := New(options)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	attempts := 0
	client.PrependReactor("patch", "*", func(action clienttesting.Action) (bool, runtime.Object, error) {
		if attempts++; attempts == 2 {
			cancel()
		}
		return true, nil, apierrors.NewNotFound(action.GetResource().GroupResource(), theName)
	})
	go c.Configs.Run(ctx.Done())
	c.Run(ctx)
	if attempts < 2 {
		t.Error("not tried again within a minute")
	}
}

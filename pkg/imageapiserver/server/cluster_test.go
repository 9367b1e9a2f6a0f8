package server

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/version"
	fakediscovery "k8s.io/client-go/discovery/fake"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
)

// cluster returns a client of a cluster with a version, and resources as "group/version resource…".
func cluster(t *testing.T, gitVersion string, resources map[string][]string, objects ...runtime.Object) *fake.Clientset {
	t.Helper()
	client := fake.NewClientset(objects...)
	discovery, ok := client.Discovery().(*fakediscovery.FakeDiscovery)
	if !ok {
		t.Fatal("the fake clientset has no fake discovery")
	}
	discovery.FakedServerVersion = &version.Info{GitVersion: gitVersion}
	for groupVersion, names := range resources {
		list := &metav1.APIResourceList{GroupVersion: groupVersion}
		for _, name := range names {
			list.APIResources = append(list.APIResources, metav1.APIResource{Name: name})
		}
		discovery.Resources = append(discovery.Resources, list)
	}
	return client
}

func authenticationConfig(data map[string]string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "extension-apiserver-authentication"}, Data: data}
}

// Behaviour 65, what is refused: versions before 1.30, and clusters without aggregation layer.
func TestUnfitClustersAreRefused(t *testing.T) {
	aggregated := authenticationConfig(map[string]string{"requestheader-client-ca-file": "PEM"})
	if err := checkCluster(t.Context(), cluster(t, "v1.30.2+vendor", nil, aggregated)); err != nil {
		t.Errorf("a vendor's build of the minimum is refused: %v", err)
	}
	if err := checkCluster(t.Context(), cluster(t, "v1.36.3", nil, aggregated)); err != nil {
		t.Errorf("a good cluster is refused: %v", err)
	}
	if err := checkCluster(t.Context(), cluster(t, "v1.29.9", nil, aggregated)); err == nil || !strings.Contains(err.Error(), "1.30") {
		t.Errorf("an old cluster: %v, want an error that names 1.30", err)
	}
	if err := checkCluster(t.Context(), cluster(t, "v1.36.3", nil, authenticationConfig(nil))); !errors.Is(err, ErrAggregationDisabled) {
		t.Errorf("a cluster without aggregation: %v, want ErrAggregationDisabled", err)
	}
	if err := checkCluster(t.Context(), cluster(t, "v1.36.3", nil)); err == nil || !strings.Contains(err.Error(), "extension-apiserver-authentication") {
		t.Errorf("a cluster without the ConfigMap: %v, want an error that names it", err)
	}
}

// A server that starts together with its RoleBinding waits until it counts, and says in the end what it may not read.
func TestRightsThatComeLateAreWaitedFor(t *testing.T) {
	client := cluster(t, "v1.36.3", nil, authenticationConfig(map[string]string{"requestheader-client-ca-file": "PEM"}))
	refusals := 1
	client.PrependReactor("get", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) {
		refusals--
		if refusals < 0 {
			return false, nil, nil
		}
		return true, nil, apierrors.NewForbidden(corev1.Resource("configmaps"), "extension-apiserver-authentication", errors.New("not bound yet"))
	})
	if err := checkCluster(t.Context(), client); err != nil {
		t.Errorf("a right that came late: %v", err)
	}
	refusals = 1000
	if _, err := authenticationConfiguration(t.Context(), client, time.Millisecond); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "ConfigMap kube-system/extension-apiserver-authentication") {
		t.Errorf("a right that never came: %v", err)
	}
}

// Behaviour 65, what is switched off: admission whose objects the cluster does not serve.
func TestPluginsWithoutServedObjectsAreOff(t *testing.T) {
	cases := map[string]struct {
		served []string
		want   []string
	}{
		"both served": {[]string{"mutatingadmissionpolicies", "validatingadmissionpolicies"}, nil},
		"before 1.36": {[]string{"validatingadmissionpolicies"}, []string{"MutatingAdmissionPolicy"}},
		"neither":     {nil, []string{"MutatingAdmissionPolicy", "ValidatingAdmissionPolicy"}},
	}
	for name, c := range cases {
		client := cluster(t, "v1.36.3", map[string][]string{"admissionregistration.k8s.io/v1": c.served})
		got, err := unavailablePlugins(client.Discovery())
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: switched off %v, want %v, error %v", name, got, c.want, err)
		}
	}
}

func TestMissingRecordKindsAreNamed(t *testing.T) {
	both := map[string][]string{"storage.image.alauda.io/v1": {"storedimages", "storedimagestreams"}}
	if err := waitForRecords(t.Context(), cluster(t, "v1.36.3", both).Discovery()); err != nil {
		t.Errorf("served records are not found: %v", err)
	}
	one := map[string][]string{"storage.image.alauda.io/v1": {"storedimages"}}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := waitForRecords(ctx, cluster(t, "v1.36.3", one).Discovery())
	if err == nil {
		t.Error("a missing record kind went unnoticed")
	}
}

func TestFlowControlNeedsRights(t *testing.T) {
	for _, allowed := range []bool{true, false} {
		client := cluster(t, "v1.36.3", nil)
		client.PrependReactor("create", "selfsubjectaccessreviews", func(clienttesting.Action) (bool, runtime.Object, error) {
			return true, &authorizationv1.SelfSubjectAccessReview{Status: authorizationv1.SubjectAccessReviewStatus{Allowed: allowed}}, nil
		})
		if got, err := mayUseFlowControl(t.Context(), client); err != nil || got != allowed {
			t.Errorf("allowed %t: got %t, error %v", allowed, got, err)
		}
	}
}

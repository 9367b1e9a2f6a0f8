package render

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/ingress"
	"image.alauda.io/registry/test/selfsigned"
)

const (
	ownKey  = "image-registry.image-registry-system.svc..5000"
	longKey = "image-registry.image-registry-system.svc.cluster.local..5000"
)

func certificate(t *testing.T) string {
	t.Helper()
	text, _, err := selfsigned.IssueFor(1, "mirror.test")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func containerOf(t *testing.T, deployment *unstructured.Unstructured) corev1.Container {
	t.Helper()
	typed := &appsv1.Deployment{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(deployment.Object, typed); err != nil {
		t.Fatal(err)
	}
	return typed.Spec.Template.Spec.Containers[0]
}

func certificates(t *testing.T, in Inputs) (map[string]string, []string) {
	t.Helper()
	data, skipped, err := Certificates(in, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return data, skipped
}

// Behaviour 43: what nodes trust does not go because what it is made of is missing for a moment.
func TestTrustSurvivesWhatIsMissingForAMoment(t *testing.T) {
	in := inputs(t, nil)
	users := certificate(t)
	in.Routes = []ingress.Route{{Name: registryv1.DefaultRouteName, Host: "r.test", SecretName: "default-route-ingress-tls"}}
	if !in.Routes[0].Issued() {
		t.Fatal("the test needs a route with a certificate of the operator")
	}
	in.AdditionalCA = map[string]string{"mirror.test": users, "r.test": users}
	complete, skipped := certificates(t, in)
	if len(skipped) > 0 || len(complete) != 4 {
		t.Fatalf("keys %v, skipped %v", slices.Sorted(maps.Keys(complete)), skipped)
	}
	for name, change := range map[string]func(*Inputs){
		"the trust bundle": func(in *Inputs) { in.Bundle = "" },
		"the ConfigMap":    func(in *Inputs) { in.AdditionalCA, in.AdditionalCAMissing = nil, true },
		"nothing":          func(*Inputs) {},
		"both at once":     func(in *Inputs) { in.Bundle, in.AdditionalCA, in.AdditionalCAMissing = "", nil, true },
	} {
		t.Run(name, func(t *testing.T) {
			later := in
			later.Published = complete
			change(&later)
			if got, _ := certificates(t, later); !maps.Equal(got, complete) {
				t.Errorf("keys %v, want what was published: %v", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(complete)))
			}
		})
	}
	t.Run("what was taken out of the ConfigMap goes", func(t *testing.T) {
		later := in
		later.Published, later.AdditionalCA = complete, map[string]string{}
		if got, _ := certificates(t, later); got["mirror.test"] != "" || got[ownKey] != in.Bundle || got["r.test"] != in.Bundle {
			t.Errorf("published %v", slices.Sorted(maps.Keys(got)))
		}
	})
	t.Run("a new signer reaches the own hosts without the ConfigMap", func(t *testing.T) {
		later := in
		later.Published, later.AdditionalCA, later.AdditionalCAMissing, later.Bundle = complete, nil, true, "NEXT\n"
		if got, _ := certificates(t, later); got[ownKey] != "NEXT\n" || got[longKey] != "NEXT\n" || got["mirror.test"] != users {
			t.Errorf("published %v", got)
		}
	})
}

// A ConfigMap of a user that is as large as they can be must not keep a new CA from the nodes.
func TestOwnTrustComesBeforeWhatUsersAdd(t *testing.T) {
	one := certificate(t)
	large := strings.Repeat(one, 200<<10/len(one))
	for name, change := range map[string]func(*Inputs){
		"many certificates of users": func(in *Inputs) {
			in.AdditionalCA = map[string]string{}
			for i := range 6 {
				in.AdditionalCA[fmt.Sprintf("m%d.test", i)] = large
			}
		},
		"a large CA of the store": func(in *Inputs) { in.StorageBundle = strings.Repeat(large, 2) },
	} {
		t.Run(name, func(t *testing.T) {
			in := inputs(t, nil)
			change(&in)
			data, skipped := certificates(t, in)
			if size := sizeOf(data); size > maxCertificates || !strings.HasPrefix(data[ownKey], in.Bundle) || !strings.HasPrefix(data[longKey], in.Bundle) {
				t.Errorf("%d bytes; keys %v", size, slices.Sorted(maps.Keys(data)))
			}
			if len(skipped) == 0 {
				t.Error("nobody is told what was left out")
			}
		})
	}
}

// What is published for all to read is not emptied while the trust bundle is missing.
func TestThePublicConfigMapWaitsForTheBundle(t *testing.T) {
	in := inputs(t, nil)
	in.Bundle = ""
	if object, err := PublicConfigMap(in); object != nil || err != nil {
		t.Errorf("rendered %v, error %v", object, err)
	}
}

// The kubelet replaces $(NAME) in values: a field of Config must not show a key of a Secret, and a password must
// reach the Pod as it is.
func TestValuesReachThePodAsTheyAre(t *testing.T) {
	in := inputs(t, func(config *registryv1.Config) {
		config.Spec.Storage = registryv1.StorageSpec{Azure: &registryv1.AzureStorage{AccountName: "me", Container: "images", RootDirectory: "$(REGISTRY_STORAGE_AZURE_ACCOUNTKEY)"}}
		config.Spec.Proxy = registryv1.ProxySpec{HTTP: "http://u:pa$$word@proxy.test:1", NoProxy: "$(REGISTRY_HTTP_SECRET)"}
	})
	registry, err := RegistryDeployment(in)
	if err != nil {
		t.Fatal(err)
	}
	server, err := APIServerDeployment(in)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"REGISTRY_STORAGE_AZURE_ROOTDIRECTORY": "$$(REGISTRY_STORAGE_AZURE_ACCOUNTKEY)",
		"HTTP_PROXY":                           "http://u:pa$$$$word@proxy.test:1",
		"NO_PROXY":                             "$$(REGISTRY_HTTP_SECRET),localhost,127.0.0.1,.svc,.svc.cluster.local,.cluster.local,$(KUBERNETES_SERVICE_HOST)",
	}
	for _, env := range [][]corev1.EnvVar{containerOf(t, registry).Env, containerOf(t, server).Env} {
		for _, variable := range env {
			if text, asked := want[variable.Name]; asked && strings.Trim(variable.Value, `"'`) != text {
				t.Errorf("%s is %s, want %s", variable.Name, variable.Value, text)
			}
		}
	}
	request, err := StorageRequest(in)
	if err != nil {
		t.Fatal(err)
	}
	for _, variable := range request.Env {
		if variable.Name == "HTTP_PROXY" && variable.Value != "http://u:pa$$word@proxy.test:1" {
			t.Errorf("the test of the storage gets %s", variable.Value)
		}
	}
}

package render

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/ingress"
)

// Behaviours 54 and 57: the whole Ingress as it is applied, the default one and one whose settings are all used.
func TestRenderedIngressesMatchGoldenFiles(t *testing.T) {
	spec := registryv1.ConfigSpec{
		DefaultRoute: true,
		Routes: []registryv1.RouteSpec{{
			Name: "public", Hostname: "registry.example.com", SecretName: "public-tls", IngressClassName: "inner",
			Annotations: map[string]string{"nginx.ingress.kubernetes.io/proxy-read-timeout": "60", "team": "images", "haproxy.org/server-ssl": ""},
		}},
		Ingress: registryv1.IngressSpec{
			ClassName: "outer", Domain: "apps.example.com", Labels: map[string]string{"exposed": "yes"},
			Annotations: map[string]string{"nginx.ingress.kubernetes.io/proxy-read-timeout": "30"},
		},
	}
	plan := ingress.Decide(ingress.Input{Namespace: "image-registry-system", ClusterDomain: "cluster.local", Spec: spec})
	var objects []*unstructured.Unstructured
	for _, route := range plan.Routes {
		object, err := Ingress(settings(t), route)
		if err != nil {
			t.Fatal(err)
		}
		objects = append(objects, object)
	}
	compare(t, "ingress", objects)
}

// Behaviour 59: everybody who has to know the external hosts gets them, and none is mentioned where there is
// none.
func TestExternalHostsReachTheirReaders(t *testing.T) {
	in := inputs(t, nil)
	in.ExternalHosts = []string{"z.example.com", "a.example.com"}
	in.Routes = []ingress.Route{
		{Name: registryv1.DefaultRouteName, Host: "z.example.com", SecretName: "default-route-ingress-tls"},
		{Name: "own", Host: "a.example.com", SecretName: "bought"},
	}
	in.AdditionalCA = map[string]string{"z.example.com": "no certificate"}
	env, err := RegistryEnv(in)
	if err != nil {
		t.Fatal(err)
	}
	found := ""
	for _, variable := range env {
		if variable.Name == "REGISTRY_ALAUDA_SERVER_ADDITIONALHOSTS" {
			found = variable.Value
		}
	}
	if want := `["z.example.com","a.example.com"]`; found != want {
		t.Errorf("REGISTRY_ALAUDA_SERVER_ADDITIONALHOSTS is %s, want %s", found, want)
	}
	server, err := apiServerSettings(in)
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := server["externalRegistryHostnames"].([]any); len(got) != 2 || got[0] != "z.example.com" {
		t.Errorf("externalRegistryHostnames of image-api-server: %v", server["externalRegistryHostnames"])
	}
	public, err := PublicConfigMap(in)
	if err != nil {
		t.Fatal(err)
	}
	if got, _, _ := unstructured.NestedString(public.Object, "data", "externalRegistryHostnames"); got != "z.example.com\na.example.com" {
		t.Errorf("ConfigMap %s names %q", public.GetName(), got)
	}
	certificates, _, err := Certificates(in, time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	if certificates["z.example.com"] != in.Bundle {
		t.Errorf("nodes trust %q for the host whose certificate the operator issues", certificates["z.example.com"])
	}
	if value, there := certificates["a.example.com"]; there {
		t.Errorf("nodes get %q for a host with a certificate of the user", value)
	}
}

package certificates

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	imageregistryv1 "image.alauda.io/api/imageregistry/v1"
)

// Behaviour 54: the certificate of a route names its host and nothing else, follows it, and goes with it.
func TestARouteHasACertificateForItsHost(t *testing.T) {
	w := newWorld()
	host := strings.Repeat("a", 60) + ".apps.example.com" // longer than a common name may be
	route := leafSpec{secret: "public-ingress-tls", host: host}
	w.in.Routes = []leafSpec{route}
	w.sync(t)
	leaf := mustPair(t, w.in.Leaves[route.secret]).cert
	if !slices.Equal(leaf.DNSNames, []string{host}) || len(leaf.IPAddresses) > 0 || len(leaf.Subject.CommonName) > maxCommonName {
		t.Errorf("names %q, addresses %v, common name %q", leaf.DNSNames, leaf.IPAddresses, leaf.Subject.CommonName)
	}
	if written := w.sync(t); len(written) > 0 {
		t.Errorf("a second sync writes %q", written)
	}
	w.in.Routes[0].host = "other.example.com"
	if written := w.sync(t); !slices.Equal(written, []string{route.secret}) {
		t.Errorf("after a change of the host %q is written", written)
	}
	w.in.Routes[0] = leafSpec{secret: route.secret, obsolete: true}
	if written := w.sync(t); !slices.Equal(written, []string{"-" + route.secret}) {
		t.Errorf("without the route %q is written, want a deletion", written)
	}
}

// A Secret that somebody else put under the name of the operator's is left alone, whatever it holds: the fault
// belongs to the route, not to the certificates of the registry.
func TestASuppliedSecretOfARouteIsLeftAlone(t *testing.T) {
	w := newWorld()
	w.in.Routes = []leafSpec{{secret: "public-ingress-tls", host: "registry.example.com"}}
	w.in.Leaves["public-ingress-tls"] = &corev1.Secret{Data: map[string][]byte{certKey: []byte("garbage")}}
	written := w.sync(t)
	if slices.Contains(written, "public-ingress-tls") || len(w.last.Problems) > 0 {
		t.Errorf("written %q, problems %v", written, w.last.Problems)
	}
}

func TestASecretStaysWhileConfigAsksForItsRoute(t *testing.T) {
	config := &imageregistryv1.Config{}
	config.Spec.Routes = []imageregistryv1.RouteSpec{{Name: "a"}, {Name: "b", SecretName: "bought"}, {Name: "c", SecretName: "d-ingress-tls"}}
	for secret, want := range map[string]bool{
		"a-ingress-tls": true, "b-ingress-tls": false, "d-ingress-tls": true, "default-route-ingress-tls": false,
	} {
		if got := asksFor(config, secret); got != want {
			t.Errorf("%s: %t, want %t", secret, got, want)
		}
	}
	config.Spec.DefaultRoute = true
	if !asksFor(config, "default-route-ingress-tls") || asksFor(nil, "default-route-ingress-tls") {
		t.Error("the default route counts when it is asked for, and only then")
	}
}

// Behaviour 44. Who copies a generated Secret to put his own certificate into it copies its annotation. What he made is
// neither replaced nor deleted.
func TestACopiedSecretOfARouteIsLeftAlone(t *testing.T) {
	w := newWorld()
	route := leafSpec{secret: "public-ingress-tls", host: "registry.example.com"}
	w.in.Routes = []leafSpec{route}
	w.sync(t)
	live := w.in.Leaves[route.secret]
	entry := metav1.ManagedFieldsEntry{Manager: fieldManager, FieldsType: "FieldsV1",
		FieldsV1: metav1.NewFieldsV1(`{"f:metadata":{"f:annotations":{"f:` + ownedAnnotation + `":{}}}}`)}
	live.ManagedFields = []metav1.ManagedFieldsEntry{entry}
	f := newFixture(t)
	indexer := f.factory.Core().V1().Secrets().Informer().GetIndexer()
	obsolete := func() bool {
		if err := indexer.Replace([]any{live}, ""); err != nil {
			t.Fatal(err)
		}
		specs, err := f.routeSpecs(nil)
		if err != nil {
			t.Fatal(err)
		}
		return len(specs) > 0
	}
	live.Namespace = "ns"
	if !obsolete() {
		t.Error("the operator's own Secret is not removed")
	}
	live.ManagedFields[0].Manager = "kubectl-client-side-apply"
	if obsolete() {
		t.Error("a copy is removed")
	}
	live.Data[certKey], live.Data[privateKey] = []byte("bought"), []byte("bought")
	if written := w.sync(t); len(written) > 0 {
		t.Errorf("written %q", written)
	}
}

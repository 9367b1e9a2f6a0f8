package ingress

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	registryv1 "image.alauda.io/api/imageregistry/v1"
)

const namespace = "image-registry-system"

func input(change func(*registryv1.ConfigSpec)) Input {
	in := Input{Namespace: namespace, ClusterDomain: "cluster.local", Live: map[string]*networkingv1.Ingress{}}
	if change != nil {
		change(&in.Spec)
	}
	return in
}

// live is an Ingress with a host, made by the operator or not.
func live(name, host string, own bool) *networkingv1.Ingress {
	object := &networkingv1.Ingress{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace, Annotations: map[string]string{}}}
	object.Spec.Rules = []networkingv1.IngressRule{{Host: host}}
	object.Spec.TLS = []networkingv1.IngressTLS{{Hosts: []string{host}, SecretName: SecretName(name)}}
	if own {
		object.Annotations[registryv1.OwnedAnnotation] = "true"
		object.ManagedFields = markedBy(registryv1.OperatorName)
	}
	return object
}

// markedBy says that a manager wrote the mark of ownership.
func markedBy(manager string) []metav1.ManagedFieldsEntry {
	return []metav1.ManagedFieldsEntry{{
		Manager: manager, Operation: metav1.ManagedFieldsOperationApply, FieldsType: "FieldsV1",
		FieldsV1: metav1.NewFieldsV1(`{"f:metadata":{"f:annotations":{"f:` + registryv1.OwnedAnnotation + `":{}}}}`),
	}}
}

// Behaviour 56. Who copies an Ingress of the operator under another name, or under one that Config asks for, copies
// its mark. His host must not become one of the registry, and his Ingress is neither taken over nor deleted.
func TestACopiedMarkMakesNoRoute(t *testing.T) {
	in := input(func(spec *registryv1.ConfigSpec) {
		spec.Routes = []registryv1.RouteSpec{{Name: "asked", Hostname: "asked.example.com"}}
	})
	for _, name := range []string{"asked", "copy"} {
		copied := live(name, "evil.example.com", true)
		copied.ManagedFields = markedBy("kubectl-client-side-apply")
		in.Live[name] = copied
	}
	plan := Decide(in)
	if len(plan.Routes) > 0 || len(plan.Obsolete) > 0 || !strings.Contains(messages(plan), "was not made by the operator") {
		t.Errorf("routes %+v, obsolete %q, problems %q", plan.Routes, plan.Obsolete, messages(plan))
	}
	if routes := Existing([]*networkingv1.Ingress{in.Live["copy"], in.Live["asked"]}); len(routes) > 0 {
		t.Errorf("routes by copies: %+v", routes)
	}
}

func messages(plan Plan) string {
	var out []string
	for _, problem := range plan.Problems {
		out = append(out, problem.Message)
	}
	return strings.Join(out, "\n")
}

// Behaviour 54.
func TestTheDefaultRouteAlwaysHasAHost(t *testing.T) {
	for name, test := range map[string]struct {
		change    func(*Input)
		host      string
		defaulted bool
	}{
		"from the cluster's domain": {func(*Input) {}, "default-route-image-registry-system.apps.cluster.local", true},
		"from the environment":      {func(in *Input) { in.Domain = "Env.Example.com." }, "default-route-image-registry-system.env.example.com", false},
		"from the spec": {func(in *Input) { in.Domain, in.Spec.Ingress.Domain = "env.example.com", "spec.example.com" },
			"default-route-image-registry-system.spec.example.com", false},
	} {
		t.Run(name, func(t *testing.T) {
			in := input(func(spec *registryv1.ConfigSpec) { spec.DefaultRoute = true })
			test.change(&in)
			plan := Decide(in)
			if len(plan.Routes) != 1 || len(plan.Problems) > 0 {
				t.Fatalf("routes %+v, problems %v", plan.Routes, plan.Problems)
			}
			route := plan.Routes[0]
			if route.Name != "default-route" || route.Host != test.host || route.SecretName != "default-route-ingress-tls" || !route.Issued() {
				t.Errorf("route %+v, want host %s", route, test.host)
			}
			if defaulted := len(plan.Defaulted) > 0; defaulted != test.defaulted {
				t.Errorf("told of the default domain: %t, want %t", defaulted, test.defaulted)
			}
		})
	}
}

// Behaviour 56: what nobody asks for goes, what somebody else made stays.
func TestOnlyOwnIngressesAreObsolete(t *testing.T) {
	in := input(func(spec *registryv1.ConfigSpec) {
		spec.Routes = []registryv1.RouteSpec{{Name: "kept", Hostname: "kept.example.com"}, {Name: "theirs", Hostname: "theirs.example.com"}}
	})
	for _, object := range []*networkingv1.Ingress{
		live("kept", "old.example.com", true), live("gone", "gone.example.com", true), live("default-route", "d.example.com", true),
		live("theirs", "t.example.com", false), live("other", "o.example.com", false),
	} {
		in.Live[object.Name] = object
	}
	plan := Decide(in)
	if diff := cmp.Diff([]string{"default-route", "gone"}, plan.Obsolete); diff != "" {
		t.Errorf("obsolete (-want +got):\n%s", diff)
	}
	if len(plan.Routes) != 1 || plan.Routes[0].Name != "kept" {
		t.Errorf("routes %+v, want kept alone", plan.Routes)
	}
	if got := messages(plan); !strings.Contains(got, "Ingress theirs exists") || !strings.Contains(got, "spec.routes[name=theirs]") {
		t.Errorf("problems %q do not name the foreign Ingress and the field", got)
	}
	if diff := cmp.Diff([]string{"kept.example.com"}, Hosts(plan.Routes)); diff != "" {
		t.Errorf("hosts (-want +got):\n%s", diff)
	}
}

// Behaviour 59.
func TestHostsHaveTheDefaultRouteFirstAndNoDuplicates(t *testing.T) {
	routes := []Route{{Name: "b", Host: "x.example.com"}, {Name: "a", Host: "m.example.com"}, {Name: "default-route", Host: "z.example.com"},
		{Name: "c", Host: "x.example.com"}, {Name: "d", Host: "z.example.com"}}
	if diff := cmp.Diff([]string{"z.example.com", "m.example.com", "x.example.com"}, Hosts(routes)); diff != "" {
		t.Errorf("hosts (-want +got):\n%s", diff)
	}
	if got := Hosts(nil); len(got) != 0 {
		t.Errorf("hosts without routes: %q", got)
	}
}

func TestTwoRoutesNeverShareAHost(t *testing.T) {
	in := input(func(spec *registryv1.ConfigSpec) {
		spec.DefaultRoute, spec.Ingress.Domain = true, "example.com"
		spec.Routes = []registryv1.RouteSpec{{Name: "thief", Hostname: "default-route-image-registry-system.example.com"}}
	})
	plan := Decide(in)
	if len(plan.Routes) != 1 || plan.Routes[0].Name != "thief" {
		t.Errorf("routes %+v, want the one that names the host", plan.Routes)
	}
	if got := messages(plan); !strings.Contains(got, "default-route cannot have host") || !strings.Contains(got, "which route thief has") {
		t.Errorf("problems %q", got)
	}
}

func TestAFaultyRouteKeepsItsIngressAndHoldsUpNoOther(t *testing.T) {
	in := input(func(spec *registryv1.ConfigSpec) {
		spec.Routes = []registryv1.RouteSpec{{Name: "a", Hostname: "*.example.com"}, {Name: "b", Hostname: "b.example.com"}}
	})
	in.Live["a"] = live("a", "a.example.com", true)
	plan := Decide(in)
	if len(plan.Routes) != 1 || plan.Routes[0].Name != "b" || len(plan.Obsolete) != 0 {
		t.Errorf("routes %+v, obsolete %q", plan.Routes, plan.Obsolete)
	}
	if got := messages(plan); !strings.Contains(got, "spec.routes[name=a].hostname") {
		t.Errorf("problems %q do not name the field", got)
	}
}

// Behaviour 57.
func TestClassAndSecretOfARouteWinOverTheDefaults(t *testing.T) {
	in := input(func(spec *registryv1.ConfigSpec) {
		spec.Ingress = registryv1.IngressSpec{ClassName: "all", Domain: "example.com"}
		spec.Routes = []registryv1.RouteSpec{{Name: "a"}, {Name: "b", IngressClassName: "special", SecretName: "bought", Hostname: "b.test"}}
	})
	plan := Decide(in)
	if len(plan.Routes) != 2 {
		t.Fatalf("routes %+v, problems %v", plan.Routes, plan.Problems)
	}
	a, b := plan.Routes[0], plan.Routes[1]
	if a.Class != "all" || a.Host != "a-image-registry-system.example.com" || !a.Issued() {
		t.Errorf("route a %+v", a)
	}
	if b.Class != "special" || b.Host != "b.test" || b.SecretName != "bought" || b.Issued() || b.Mark != "" {
		t.Errorf("route b %+v", b)
	}
}

// Behaviour 57: later maps win, an empty value removes, and the mark of the operator is nobody's to change.
func TestAnnotationsAreLaidOverEachOther(t *testing.T) {
	got := Annotations(
		map[string]string{"a": "1", "b": "1", "c": "1", registryv1.OwnedAnnotation: "true"},
		map[string]string{"b": "2", "c": "", "d": "2", registryv1.OwnedAnnotation: ""},
		map[string]string{"b": "3", "c": "3", "d": "", registryv1.OwnedAnnotation: "false"})
	want := map[string]string{"a": "1", "b": "3", "c": "3", registryv1.OwnedAnnotation: "true"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("annotations (-want +got):\n%s", diff)
	}
}

func TestReservedAnnotationsAreNamed(t *testing.T) {
	in := input(func(spec *registryv1.ConfigSpec) {
		spec.Routes = []registryv1.RouteSpec{{Name: "a", Hostname: "a.test", Annotations: map[string]string{registryv1.OwnedAnnotation: ""}}}
	})
	plan := Decide(in)
	if len(plan.Routes) != 1 || !strings.Contains(messages(plan), registryv1.OwnedAnnotation) {
		t.Errorf("routes %+v, problems %q", plan.Routes, messages(plan))
	}
}

func TestOwnLabelsWin(t *testing.T) {
	got := Labels(map[string]string{"managed-by": "operator"}, map[string]string{"managed-by": "me", "team": "x"})
	if diff := cmp.Diff(map[string]string{"managed-by": "operator", "team": "x"}, got); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
}

func TestExistingRoutesAreThoseOfOwnIngresses(t *testing.T) {
	routes := Existing([]*networkingv1.Ingress{
		live("b", "b.test", true), live("theirs", "t.test", false), live("default-route", "d.test", true), live("broken", "", true),
	})
	want := []Route{{Name: "default-route", Host: "d.test", SecretName: "default-route-ingress-tls"}, {Name: "b", Host: "b.test", SecretName: "b-ingress-tls"}}
	if diff := cmp.Diff(want, routes); diff != "" {
		t.Errorf("routes (-want +got):\n%s", diff)
	}
}

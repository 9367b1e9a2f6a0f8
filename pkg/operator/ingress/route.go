package ingress

import (
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/apply"
)

// Route is one Ingress as Config asks for it.
type Route struct {
	// Name is the name of the Ingress, Field the path of the route in Config.
	Name, Field string
	// Host is the only host of the Ingress, in lower case and without a port.
	Host string
	// Mark proves that the host was chosen for the present inputs; empty for a host that Config names.
	Mark string
	// SecretName is the TLS Secret in the operand namespace.
	SecretName string
	// Class is empty for the default class of the cluster.
	Class string
	// Annotations are laid over the default ones in this order; an empty value removes a key.
	Annotations []map[string]string
	Labels      map[string]string
}

// Issued says whether the operator issues the certificate, unless somebody else has put a Secret of that name.
func (r Route) Issued() bool { return r.SecretName == SecretName(r.Name) }

// SecretName is the Secret of the certificate that the operator issues for a route.
func SecretName(route string) string { return route + registryv1.IngressTLSSecretSuffix }

// Problem is what is wrong with one route, for people.
type Problem struct {
	Route, Message string
}

// Input is everything that decides about the exposure.
type Input struct {
	// Namespace is the operand namespace, ClusterDomain the DNS suffix of the cluster.
	Namespace, ClusterDomain string
	// Domain is that of the environment for generated host names; empty means none.
	Domain string
	Spec   registryv1.ConfigSpec
	// Live are all Ingresses of the operand namespace by name.
	Live map[string]*networkingv1.Ingress
}

// Plan is what the input asks for.
type Plan struct {
	// Routes are to be applied: the default route first, the others by name.
	Routes []Route
	// Obsolete are the operator's own Ingresses that nobody asks for any more, sorted.
	Obsolete []string
	// Problems are sorted by route.
	Problems []Problem
	// Defaulted are host names below the domain of the cluster, because no other domain is known.
	Defaulted []string
}

// Decide makes the plan.
func Decide(in Input) Plan {
	var plan Plan
	wanted := map[string]bool{}
	taken := map[string]string{}
	for _, request := range in.requests() {
		wanted[request.name] = true
		if live := in.Live[request.name]; live != nil && !Owned(live) {
			plan.problem(request, "Ingress %s exists in namespace %s and was not made by the operator; it is left as it is, so rename the route (%s) or remove that Ingress",
				request.name, in.Namespace, request.field)
			continue
		}
		route, fallback, err := in.route(request)
		if err != nil {
			plan.problem(request, "%v", err)
			continue
		}
		if other := taken[route.Host]; other != "" {
			plan.problem(request, "route %s cannot have host %s, which route %s has; set another hostname (%s)", route.Name, route.Host, other, request.field)
			continue
		}
		if keys := reserved(route.Annotations...); len(keys) > 0 {
			plan.problem(request, "annotations of route %s that belong to the operator have no effect: %s; remove them from spec.ingress.annotations and %s",
				route.Name, strings.Join(keys, ", "), request.field)
		}
		taken[route.Host] = route.Name
		plan.Routes = append(plan.Routes, route)
		if fallback {
			plan.Defaulted = append(plan.Defaulted, route.Host)
		}
	}
	for name, live := range in.Live {
		if Owned(live) && !wanted[name] {
			plan.Obsolete = append(plan.Obsolete, name)
		}
	}
	plan.sort()
	return plan
}

func (p *Plan) problem(r request, format string, args ...any) {
	p.Problems = append(p.Problems, Problem{Route: r.name, Message: fmt.Sprintf(format, args...)})
}

func (p *Plan) sort() {
	slices.Sort(p.Obsolete)
	slices.Sort(p.Defaulted)
	SortProblems(p.Problems)
	sort.Slice(p.Routes, func(i, j int) bool { return before(p.Routes[i].Name, p.Routes[j].Name) })
}

// SortProblems brings them into an order that does not change from sync to sync.
func SortProblems(problems []Problem) {
	sort.SliceStable(problems, func(i, j int) bool { return before(problems[i].Route, problems[j].Route) })
}

// before puts the default route first.
func before(a, b string) bool {
	if (a == registryv1.DefaultRouteName) != (b == registryv1.DefaultRouteName) {
		return a == registryv1.DefaultRouteName
	}
	return a < b
}

// Hosts are the external host names of the registry: that of the default route first, the others sorted, each
// one once.
func Hosts(routes []Route) []string {
	var first, rest []string
	for _, route := range routes {
		if route.Name == registryv1.DefaultRouteName {
			first = []string{route.Host}
			continue
		}
		rest = append(rest, route.Host)
	}
	slices.Sort(rest)
	rest = slices.DeleteFunc(slices.Compact(rest), func(host string) bool { return slices.Contains(first, host) })
	return append(first, rest...)
}

// Owned says whether the operator made the Ingress. The annotation alone does not: whoever copies an Ingress copies
// it, too, and would get a certificate for his host, and the pull tokens of all namespaces would be meant for it.
func Owned(live *networkingv1.Ingress) bool {
	return apply.WroteMark(live, registryv1.OperatorName, registryv1.OwnedAnnotation)
}

// Existing are the routes that the operator's own Ingresses stand for, whatever Config says.
func Existing(live []*networkingv1.Ingress) []Route {
	var out []Route
	for _, object := range live {
		if !Owned(object) || len(object.Spec.Rules) == 0 || object.Spec.Rules[0].Host == "" {
			continue
		}
		route := Route{Name: object.Name, Host: object.Spec.Rules[0].Host}
		if len(object.Spec.TLS) > 0 {
			route.SecretName = object.Spec.TLS[0].SecretName
		}
		out = append(out, route)
	}
	sort.Slice(out, func(i, j int) bool { return before(out[i].Name, out[j].Name) })
	return out
}

// request is a route before its host is known.
type request struct {
	name, field string
	registryv1.RouteSpec
}

// requests lists what Config asks for. Whoever names his host comes before those who get one.
func (in Input) requests() []request {
	var out []request
	if in.Spec.DefaultRoute {
		out = append(out, request{name: registryv1.DefaultRouteName, field: "spec.defaultRoute"})
	}
	for _, route := range in.Spec.Routes {
		if route.Name == registryv1.DefaultRouteName {
			continue // reserved; the schema refuses it
		}
		out = append(out, request{name: route.Name, field: fmt.Sprintf("spec.routes[name=%s]", route.Name), RouteSpec: route})
	}
	sort.SliceStable(out, func(i, j int) bool {
		if a, b := out[i].Hostname != "", out[j].Hostname != ""; a != b {
			return a
		}
		return before(out[i].name, out[j].name)
	})
	return out
}

func (in Input) route(r request) (route Route, fallback bool, err error) {
	defaults := in.Spec.Ingress
	route = Route{
		Name: r.name, Field: r.field, SecretName: r.SecretName, Class: r.IngressClassName,
		Annotations: []map[string]string{defaults.Annotations, r.RouteSpec.Annotations},
		Labels:      maps.Clone(defaults.Labels),
	}
	if route.SecretName == "" {
		route.SecretName = SecretName(r.name)
	}
	if route.Class == "" {
		route.Class = defaults.ClassName
	}
	if r.Hostname != "" {
		route.Host = r.Hostname
		if err := CheckHost(route.Host, in.Namespace, in.ClusterDomain); err != nil {
			return route, false, fmt.Errorf("route %s: %s.hostname: %w", r.name, r.field, err)
		}
		return route, false, nil
	}
	domain, source := in.domain()
	route.Host, route.Mark, err = in.generated(r.name, domain)
	if err != nil {
		return route, false, fmt.Errorf("route %s: %s: %w", r.name, source, err)
	}
	return route, source == clusterDomainSource, nil
}

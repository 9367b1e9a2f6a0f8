package registryconfig

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/apply"
	"image.alauda.io/registry/pkg/operator/fault"
	"image.alauda.io/registry/pkg/operator/ingress"
	"image.alauda.io/registry/pkg/operator/render"
)

// exposure is what one sync found out about the Ingresses.
type exposure struct {
	hosts    []string
	problems []string
}

func (c *Controller) ingresses() ([]*networkingv1.Ingress, error) {
	found, err := c.listers.ingresses.List(labels.Everything())
	if err != nil {
		return nil, fmt.Errorf("list Ingresses: %w", err)
	}
	return found, nil
}

// planExposure decides which Ingresses there are.
func (c *Controller) planExposure(config *registryv1.Config) (ingress.Plan, error) {
	found, err := c.ingresses()
	if err != nil {
		return ingress.Plan{}, err
	}
	in := ingress.Input{
		Namespace: c.Settings.Namespace, ClusterDomain: c.Settings.ClusterDomain, Domain: c.Settings.IngressDomain,
		Spec: config.Spec, Live: map[string]*networkingv1.Ingress{},
	}
	for _, object := range found {
		in.Live[object.Name] = object
	}
	return ingress.Decide(in), nil
}

// expose applies the Ingresses of the plan and takes away those that are no longer wanted. A faulty route is
// told of and holds up nothing.
func (c *Controller) expose(ctx context.Context, p *pass, plan ingress.Plan) *exposure {
	problems, refusedHere := slices.Clone(plan.Problems), map[string]bool{}
	for _, route := range plan.Routes {
		found, taken := c.applyRoute(ctx, p, route)
		refusedHere[route.Name] = !taken
		for _, problem := range found {
			problems = append(problems, ingress.Problem{Route: route.Name, Message: problem})
		}
	}
	for _, name := range plan.Obsolete {
		_, err := c.Applier.Delete(ctx, c.inNamespace("Ingress", name))
		p.add(err)
	}
	for _, host := range plan.Defaulted {
		c.Events(corev1.EventTypeWarning, "IngressDomainDefaulted",
			fmt.Sprintf("host %s lies below the domain of the cluster, because neither spec.ingress.domain nor INGRESS_DOMAIN is set; set the domain that your ingress controller serves", host))
	}
	ingress.SortProblems(problems)
	out := &exposure{hosts: ingress.Hosts(slices.DeleteFunc(slices.Clone(plan.Routes), func(route ingress.Route) bool {
		return refusedHere[route.Name] && !c.leadsHere(route)
	}))}
	for _, problem := range problems {
		c.Events(corev1.EventTypeWarning, registryv1.ReasonRouteDegraded, problem.Message)
		out.problems = append(out.problems, problem.Message)
	}
	return out
}

// answering are the hosts of the routes, without those whose Ingress the cluster refused: nobody is sent to a host
// that leads nowhere. A host of a spec that was not looked at before is taken for good.
func (c *Controller) answering(config *registryv1.Config, routes []ingress.Route) []string {
	looked := config.Status.ObservedGeneration == config.Generation && config.Generation != 0
	return ingress.Hosts(slices.DeleteFunc(slices.Clone(routes), func(route ingress.Route) bool {
		return looked && !slices.Contains(config.Status.ExternalRegistryHostnames, route.Host) && !c.leadsHere(route)
	}))
}

// leadsHere says whether the Ingress of a route has its host.
func (c *Controller) leadsHere(route ingress.Route) bool {
	live, err := c.listers.ingresses.Get(route.Name)
	return err == nil && ingress.Owned(live) &&
		slices.ContainsFunc(live.Spec.Rules, func(rule networkingv1.IngressRule) bool { return rule.Host == route.Host })
}

// applyRoute applies one Ingress and says what is wrong with it, and whether the cluster took it. The Ingress comes even when its Secret is
// missing: who makes the Secret may wait for it.
func (c *Controller) applyRoute(ctx context.Context, p *pass, route ingress.Route) (problems []string, taken bool) {
	object, err := render.Ingress(c.Settings, route)
	if err == nil {
		// Not by way of apply, which takes a refusal for a fault of the whole registry.
		_, _, err = c.Applier.Apply(ctx, object)
	}
	taken = !refused(err)
	if !taken {
		problems = append(problems, fmt.Sprintf("route %s: the cluster refuses its Ingress (%s, spec.ingress): %v", route.Name, route.Field, err))
	} else {
		p.add(err)
	}
	if problem := ingress.CheckClass(route, c.classExists); problem != "" {
		problems = append(problems, problem)
	}
	secret := c.secret(route.SecretName)
	if ingress.Pending(route, secret) {
		p.add(fault.WaitingFor("Secret %s with the certificate of route %s", route.SecretName, route.Name))
	} else if problem := ingress.CheckSecret(route, c.Settings.Namespace, secret, c.Clock.Now()); problem != "" {
		problems = append(problems, problem)
	}
	return problems, taken
}

// refused says whether the API, or an admission webhook of an ingress controller, will not take the object
// however often it is sent.
func refused(err error) bool {
	return apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) || apierrors.IsForbidden(err)
}

func (c *Controller) classExists(name string) bool {
	_, err := c.listers.ingressClasses.Get(name)
	return !apierrors.IsNotFound(err)
}

// existingRoutes are those that there are, for a registry whose Ingresses are left alone.
func (c *Controller) existingRoutes() ([]ingress.Route, error) {
	found, err := c.ingresses()
	return ingress.Existing(found), err
}

// removeIngresses takes all own Ingresses away. Besides those that are seen, those are asked for that may have
// been made a moment ago.
func (c *Controller) removeIngresses(ctx context.Context, config *registryv1.Config) (bool, error) {
	found, err := c.ingresses()
	if err != nil {
		return false, err
	}
	names := map[string]bool{registryv1.DefaultRouteName: true}
	for _, route := range config.Spec.Routes {
		names[route.Name] = true
	}
	for _, object := range found {
		names[object.Name] = ingress.Owned(object)
	}
	var own []apply.Ref
	for _, name := range sortedNames(names) {
		own = append(own, c.inNamespace("Ingress", name))
	}
	return c.deleteAll(ctx, own)
}

// askToRemoveIngresses does not wait: the finalizer of a controller that is gone must not keep the registry
// running.
func (c *Controller) askToRemoveIngresses(ctx context.Context, config *registryv1.Config) error {
	_, err := c.removeIngresses(ctx, config)
	return err
}

func sortedNames(wanted map[string]bool) []string {
	var out []string
	for name, yes := range wanted {
		if yes {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// previousExposure repeats what was known, for a sync that did not come to the Ingresses.
func previousExposure(config *registryv1.Config) *exposure {
	out := &exposure{hosts: config.Status.ExternalRegistryHostnames}
	for _, condition := range config.Status.Conditions {
		if condition.Type == registryv1.ConditionIngressDegraded && condition.Status == registryv1.ConditionTrue {
			out.problems = []string{condition.Message}
		}
	}
	return out
}

//go:build component

package operator

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/app"
)

const nameLabel = "app.kubernetes.io/name"

var servers = []string{registryv1.RegistryName, registryv1.ImageAPIName}

// placement is a cluster with the real controllers of Deployments, claims and disruption budgets and the real
// scheduler; only the kubelets are played.
type placement struct {
	*cluster
	kubelets *kubelets
	revision int
}

func place(t *testing.T) *placement {
	c := installWith(t, "deployment-controller", "replicaset-controller", "disruption-controller", "persistentvolume-binder-controller")
	p := &placement{cluster: c, kubelets: c.playKubelets()}
	c.sharedClaim(t, "mine")
	c.schedule()
	c.operator(app.DefaultOptions().Lease, "", c.writes)
	c.waitFor(registryv1.ConditionRemoved, registryv1.ConditionTrue, registryv1.ReasonRemoved)
	return p
}

// ask wants so many replicas of both servers, from a template that no Pod has yet.
func (p *placement) ask(replicas int32, another bool) {
	p.t.Helper()
	if another {
		p.revision++
	}
	p.edit(func(config *registryv1.Config) {
		onClaim("mine")(config)
		config.Spec.Replicas, config.Spec.ImageAPI.Replicas = ptr.To(replicas), ptr.To(replicas)
		config.Spec.Proxy.NoProxy, config.Spec.Proxy.HTTP = fmt.Sprintf("revision-%d.example.com", p.revision), "http://198.18.0.8:3128"
	})
}

func (p *placement) deployment(name string) *appsv1.Deployment {
	deployment, err := p.kube.AppsV1().Deployments(ns).Get(p.t.Context(), name, metav1.GetOptions{})
	if err != nil {
		return &appsv1.Deployment{}
	}
	return deployment
}

// applied says whether the Deployment is the one that was asked for last.
func (p *placement) applied(deployment *appsv1.Deployment, replicas int32) bool {
	if deployment.Spec.Replicas == nil || *deployment.Spec.Replicas != replicas {
		return false
	}
	return slices.ContainsFunc(deployment.Spec.Template.Spec.Containers[0].Env, func(env corev1.EnvVar) bool {
		return env.Name == "NO_PROXY" && strings.Contains(env.Value, fmt.Sprintf("revision-%d.example.com", p.revision))
	})
}

// current are the Pods of the newest template of a server that stay, others the ones of older templates.
func (p *placement) current(name string) (current, others []corev1.Pod) {
	p.t.Helper()
	pods, err := p.kube.CoreV1().Pods(ns).List(p.t.Context(), metav1.ListOptions{LabelSelector: nameLabel + "=" + name})
	if err != nil {
		p.t.Fatal(err)
	}
	for _, pod := range pods.Items {
		mark := fmt.Sprintf("revision-%d.example.com", p.revision)
		switch {
		case pod.DeletionTimestamp != nil:
		case slices.ContainsFunc(pod.Spec.Containers[0].Env, func(env corev1.EnvVar) bool { return strings.Contains(env.Value, mark) }):
			current = append(current, pod)
		default:
			others = append(others, pod)
		}
	}
	return current, others
}

// rolledOut waits until all replicas of both servers are scheduled and ready, and none of an older template is left.
func (p *placement) rolledOut(replicas int32) {
	p.t.Helper()
	for _, name := range servers {
		p.eventually(fmt.Sprintf("%d replicas of %s run", replicas, name), func() (bool, string) {
			deployment := p.deployment(name)
			current, others := p.current(name)
			ok := p.applied(deployment, replicas) && len(current) == int(replicas) && len(others) == 0 &&
				deployment.Status.ObservedGeneration == deployment.Generation && deployment.Status.AvailableReplicas == replicas
			return ok, describePods(append(current, others...)) + summary(p.config())
		})
	}
}

func describePods(pods []corev1.Pod) string {
	var out strings.Builder
	for _, pod := range pods {
		fmt.Fprintf(&out, "Pod %s on %q, conditions %v\n", pod.Name, pod.Spec.NodeName, pod.Status.Conditions)
	}
	return out.String()
}

// spread compares the numbers of Pods on the nodes that may have some.
func (p *placement) spread(replicas int, usable []string) {
	p.t.Helper()
	for _, name := range servers {
		counts := map[string]int{}
		for _, node := range usable {
			counts[node] = 0
		}
		pods, _ := p.current(name)
		for _, pod := range pods {
			counts[pod.Spec.NodeName]++
		}
		numbers := slices.Collect(maps.Values(counts))
		if len(counts) != len(usable) || slices.Max(numbers)-slices.Min(numbers) > 1 {
			p.t.Errorf("%d Pods of %s are on %v, want them spread evenly over %v", replicas, name, counts, usable)
		}
	}
}

// surge asks for another template while no new Pod becomes ready: as many as the strategy lets begin get a place
// beside the old ones.
func (p *placement) surge(replicas int32) {
	p.t.Helper()
	p.kubelets.held.Store(true)
	p.ask(replicas, true)
	for _, name := range servers {
		p.eventually(fmt.Sprintf("the first Pods of the next template of %s with %d replicas have a place", name, replicas), func() (bool, string) {
			deployment := p.deployment(name)
			if !p.applied(deployment, replicas) {
				return false, "the Deployment is as before"
			}
			rules := deployment.Spec.Strategy.RollingUpdate
			more, err := intstr.GetScaledValueFromIntOrPercent(rules.MaxSurge, int(replicas), true)
			if err != nil {
				return false, err.Error()
			}
			fewer, err := intstr.GetScaledValueFromIntOrPercent(rules.MaxUnavailable, int(replicas), false)
			if err != nil {
				return false, err.Error()
			}
			current, others := p.current(name)
			placed := !slices.ContainsFunc(current, func(pod corev1.Pod) bool { return pod.Spec.NodeName == "" })
			return more > 0 && placed && len(current) == min(int(replicas), more+fewer) && len(others) == int(replicas)-fewer,
				fmt.Sprintf("%d new and %d old, %d more and %d fewer are allowed: %s", len(current), len(others), more, fewer, describePods(current))
		})
	}
	p.kubelets.held.Store(false)
	p.rolledOut(replicas)
}

// budgets waits until the budgets of both servers say what an administrator may take away.
func (p *placement) budgets(replicas int32) {
	p.t.Helper()
	guaranteed := int32(0)
	if replicas > 1 {
		guaranteed = 1
	}
	for _, name := range servers {
		p.eventually("the budget of "+name+" follows", func() (bool, string) {
			budget, err := p.kube.PolicyV1().PodDisruptionBudgets(ns).Get(p.t.Context(), name, metav1.GetOptions{})
			if err != nil {
				return false, err.Error()
			}
			return budget.Spec.MinAvailable.IntVal == guaranteed && budget.Status.CurrentHealthy == replicas &&
				budget.Status.DisruptionsAllowed == replicas-guaranteed && budget.Status.ObservedGeneration == budget.Generation, fmt.Sprintf("%+v", budget)
		})
	}
}

// evict asks for the eviction of a Pod as a drain does.
func (p *placement) evict(pod string) error {
	return p.kube.PolicyV1().Evictions(ns).Evict(p.t.Context(), &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: pod}})
}

// drain empties a node and waits until everything runs elsewhere.
func (p *placement) drain(node string, replicas int32) {
	p.t.Helper()
	p.cordon(node, true)
	for _, name := range servers {
		p.eventually(name+" leaves "+node, func() (bool, string) {
			pods, _ := p.current(name)
			for _, pod := range pods {
				if pod.Spec.NodeName != node {
					continue
				}
				if err := p.evict(pod.Name); err != nil && !apierrors.IsNotFound(err) {
					return false, err.Error()
				}
				return false, "evicted " + pod.Name
			}
			return true, ""
		})
	}
	p.rolledOut(replicas)
	p.cordon(node, false)
}

// Behaviour 34: one, two and three replicas of both servers get a place on small clusters, spread as far as there are
// nodes, and so do the Pods of the next template beside them; the budgets let nodes be drained.
func TestEveryReplicaGetsAPlace(t *testing.T) {
	t.Parallel()
	p := place(t)
	three := []node{{name: "n1", zone: "z1"}, {name: "n2", zone: "z2"}, {name: "n3", zone: "z3"}}
	for _, test := range []struct {
		name   string
		nodes  []node
		usable []string
	}{
		{"one node", []node{{name: "n1"}}, []string{"n1"}},
		{"three nodes in three zones", three, []string{"n1", "n2", "n3"}},
		{"three nodes, one tainted", []node{three[0], three[1], {name: "n3", zone: "z3", tainted: true}}, []string{"n1", "n2"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			p.t = t
			p.nodes(test.nodes...)
			p.ask(1, true)
			if err := p.kube.CoreV1().Pods(ns).DeleteCollection(t.Context(), metav1.DeleteOptions{GracePeriodSeconds: ptr.To[int64](0)}, metav1.ListOptions{}); err != nil {
				t.Fatal(err)
			}
			for replicas := int32(1); replicas <= 3; replicas++ {
				p.ask(replicas, false)
				p.rolledOut(replicas)
				p.spread(int(replicas), test.usable)
				p.budgets(replicas)
				p.surge(replicas)
				p.spread(int(replicas), test.usable)
			}
			if len(test.usable) > 1 {
				p.drain(test.usable[0], 3)
			}
		})
	}
	p.t = t
	zoned := p.deployment(registryv1.RegistryName).Spec.Template.Spec.TopologySpreadConstraints
	if !slices.ContainsFunc(zoned, func(c corev1.TopologySpreadConstraint) bool { return c.TopologyKey == corev1.LabelTopologyZone }) {
		t.Errorf("nodes have zones, and the registry is spread by %v", zoned)
	}
}

// Behaviours 34 and 35: the last Pod of several is not given away, a Pod that is not ready always is, and a single one
// as well. Pods of the registry that are not ready make it unavailable at once, and only as long.
func TestEvictionsAndPodsThatAreNotReady(t *testing.T) {
	t.Parallel()
	p := place(t)
	p.nodes(node{name: "n1"})
	p.ask(2, false)
	p.rolledOut(2)
	p.budgets(2)
	p.kubelets.held.Store(true)
	for _, name := range servers {
		pods, _ := p.current(name)
		if err := p.evict(pods[0].Name); err != nil {
			t.Errorf("%s: eviction of one of two: %v", name, err)
		}
		if err := p.evict(pods[1].Name); !apierrors.IsTooManyRequests(err) {
			t.Errorf("%s: eviction of the last that is ready: %v, want it refused", name, err)
		}
		p.eventually("another Pod of "+name+" begins", func() (bool, string) {
			pods, _ := p.current(name)
			begun := slices.IndexFunc(pods, func(pod corev1.Pod) bool { return pod.Spec.NodeName != "" && !isReady(&pod) })
			if len(pods) != 2 || begun < 0 {
				return false, describePods(pods)
			}
			err := p.evict(pods[begun].Name)
			return err == nil, fmt.Sprintf("eviction of a Pod that is not ready: %v", err)
		})
	}
	p.kubelets.held.Store(false)
	p.rolledOut(2)

	p.kubelets.down.Store(true)
	p.waitFor(registryv1.ConditionAvailable, registryv1.ConditionFalse, registryv1.ReasonNoReplicasAvailable)
	p.waitFor(registryv1.ConditionDegraded, registryv1.ConditionFalse, registryv1.ReasonAsExpected)
	p.kubelets.down.Store(false)
	// The Image API has no process here, which is the next thing that is missing.
	p.waitFor(registryv1.ConditionAvailable, registryv1.ConditionFalse, registryv1.ReasonImageAPIServerUnavailable)

	p.ask(1, false)
	p.rolledOut(1)
	p.budgets(1)
	for _, name := range servers {
		pods, _ := p.current(name)
		if err := p.evict(pods[0].Name); err != nil {
			t.Errorf("%s: eviction of a single Pod: %v", name, err)
		}
	}
	p.rolledOut(1)
}

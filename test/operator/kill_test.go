//go:build component

package operator

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
	"k8s.io/utils/ptr"

	registryv1 "image.alauda.io/api/imageregistry/v1"
)

// transition is one thing that an administrator asks for.
type transition struct {
	name string
	// prepare makes the cluster ready, with no operator running; nil when the one before has left it as needed.
	prepare func()
	// ask changes Config; it is repeated until it succeeds, because Config may not be there yet.
	ask func(*registryv1.Config)
	// deletes: Config is deleted instead of changed.
	deletes bool
}

// lab runs transitions on one control plane, with one operator after the other.
type lab struct {
	*cluster
	wants map[string]snapshot
	uids  map[string]string
}

func newLab(t *testing.T) *lab {
	c := installWith(t, "persistentvolumeclaim-protection-controller")
	if _, err := c.kube.StorageV1().StorageClasses().Create(t.Context(), defaultClass(), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	_, err := c.kube.CoreV1().PersistentVolumeClaims(ns).Create(t.Context(), &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: "mine"},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany},
			Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c.reportEndpoint()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	go c.playWorkloads(ctx)
	return &lab{cluster: c, wants: map[string]snapshot{}, uids: map[string]string{}}
}

// request asks for the transition; false while that is not possible.
func (l *lab) request(step transition) bool {
	client := l.registry.ImageregistryV1().Configs()
	if step.deletes {
		return client.Delete(l.t.Context(), registryv1.SingletonName, metav1.DeleteOptions{}) == nil
	}
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		config, err := client.Get(l.t.Context(), registryv1.SingletonName, metav1.GetOptions{})
		if err != nil {
			return err
		}
		step.ask(config)
		_, err = client.Update(l.t.Context(), config, metav1.UpdateOptions{})
		return err
	})
	return err == nil
}

// once runs a transition with an operator that dies after some steps and whose successors die after as many,
// until one need not die. It returns how many died. Without a reference the outcome becomes the reference.
func (l *lab) once(step transition, after int, again bool, wraps ...func(http.RoundTripper) http.RoundTripper) (deaths int) {
	l.t.Helper()
	if step.prepare != nil {
		step.prepare()
	}
	asked := false
	for {
		limit := after
		if deaths > 0 && !again {
			limit = 0
		}
		what := fmt.Sprintf("%s, killed after step %d (%d times): the same state as without", step.name, after, deaths)
		if l.life(step, limit, &asked, what, wraps) {
			return deaths
		}
		deaths++
	}
}

// life runs one operator until a transition is at its end, or until it dies. No operator outlives it, also when the
// test ends here.
func (l *lab) life(step transition, limit int, asked *bool, what string, wraps []func(http.RoundTripper) http.RoundTripper) (reached bool) {
	l.t.Helper()
	p := l.launch(limit, wraps...)
	defer p.end()
	if !*asked {
		l.eventually(step.name+": the request is taken", func() (bool, string) {
			*asked = l.request(step)
			return *asked || p.killed(), "Config cannot be changed yet"
		})
	}
	switch want := l.wants[step.name]; {
	case !*asked:
		return false
	case want == nil:
		l.wants[step.name] = l.stable()
		return true
	default:
		return l.reaches(what, want, p.dead)
	}
}

// keep remembers what must survive, and fails when it has become another object.
func (l *lab) keep(after string) {
	l.t.Helper()
	for _, ref := range slices.Concat(inNS("PersistentVolumeClaim", "mine"),
		global("CustomResourceDefinition", "storedimages.storage.image.alauda.io", "storedimagestreams.storage.image.alauda.io")) {
		object := l.get(ref)
		if object == nil {
			l.t.Fatalf("%s: %s, which holds data, is gone", after, ref)
		}
		if before := l.uids[ref.String()]; before != "" && before != string(object.GetUID()) {
			l.t.Fatalf("%s: %s, which holds data, was replaced", after, ref)
		}
		l.uids[ref.String()] = string(object.GetUID())
	}
}

func onClaim(name string) func(*registryv1.Config) {
	return func(config *registryv1.Config) {
		config.Spec.ManagementState = registryv1.Managed
		config.Spec.Storage = registryv1.StorageSpec{ManagementState: registryv1.Managed, PVC: &registryv1.PVCStorage{Claim: name}}
	}
}

// pairs are transitions that undo each other, so that each leaves what the other begins with.
func pairs() [][]transition {
	edited := func(replicas int32, level registryv1.LogLevel, policies string) func(*registryv1.Config) {
		return func(config *registryv1.Config) {
			config.Spec.Replicas, config.Spec.LogLevel = ptr.To(replicas), level
			config.Spec.ImageAPI.Replicas = ptr.To(replicas)
			config.Spec.ImageAPI.ImageLookup = ptr.To(replicas == 1)
			config.Spec.NodeSelector = map[string]string{"size": fmt.Sprint(replicas)}
			config.Annotations = map[string]string{registryv1.NetworkPolicyAnnotation: policies}
		}
	}
	managed := transition{name: "Removed to Managed", ask: onClaim("mine")}
	return [][]transition{
		{{name: "an edit of several fields", ask: edited(3, registryv1.LogDebug, "false")}, {name: "the edit back", ask: edited(1, registryv1.LogNormal, "true")}},
		{{name: "another storage", ask: onClaim("image-registry-storage")}, {name: "the storage back", ask: onClaim("mine")}},
		{{name: "Managed to Removed", ask: func(config *registryv1.Config) { config.Spec.ManagementState = registryv1.Removed }}, managed},
		{{name: "Config is deleted", deletes: true}, {name: "a new Config to Managed", ask: onClaim("mine")}},
	}
}

// Behaviour 22: the operator dies after each of its requests, and what comes after it ends in the same state as
// one that never died. Nothing that holds data is lost on the way.
func TestKillAtEveryStep(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	install := transition{name: "installation", prepare: l.wipe, ask: func(config *registryv1.Config) {
		config.Spec.ManagementState = registryv1.Managed
	}}
	began := time.Now()
	l.once(install, 0, false)
	l.once(transition{name: "to a claim of one's own", ask: onClaim("mine")}, 0, false)
	l.keep("installation")
	for _, pair := range pairs() {
		for _, step := range pair {
			l.once(step, 0, false)
			l.keep(step.name)
		}
	}
	t.Logf("references: %s", time.Since(began))
	for _, pair := range pairs() {
		t.Run(pair[0].name, func(t *testing.T) {
			l.t = t
			l.everyStep(pair)
		})
	}
	t.Run(install.name, func(t *testing.T) {
		l.t = t
		l.uids = map[string]string{}
		l.everyStep([]transition{install})
	})
}

// next is the step after which the next process dies. Among the many alike in the middle only each sixth is taken,
// because every single one has its turn when all processes of one transition die; EVERY_STEP=1 takes them all.
func next(after int) int {
	if after < 6 || os.Getenv("EVERY_STEP") != "" {
		return after + 1
	}
	return after + 6
}

// everyStep kills once after one step and later ones, until a transition comes to its end without, and then at each
// step of one transition in turn.
func (l *lab) everyStep(steps []transition) {
	l.t.Helper()
	needed := make([]bool, len(steps))
	for after := 1; slices.Contains(needed, false); after = next(after) {
		for i, step := range steps {
			limit := after
			if needed[i] {
				limit = 0
			}
			began := time.Now()
			deaths := l.once(step, limit, false)
			l.t.Logf("%s: after %d: %d deaths, %s", step.name, limit, deaths, time.Since(began).Round(time.Millisecond))
			needed[i] = needed[i] || deaths == 0
			if step.prepare == nil {
				l.keep(step.name)
			}
		}
	}
	for _, step := range steps {
		deaths := l.once(step, 1, true)
		l.t.Logf("%s: %d processes died after one step each", step.name, deaths)
	}
}

// Behaviour 22: requests that were carried out and are answered with an error change nothing about the end.
func TestStepsThatAreAnsweredWithAnError(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.once(transition{name: "installation", prepare: l.wipe, ask: onClaim("mine")}, 0, false)
	steps := pairs()[2]
	for _, step := range steps {
		l.once(step, 0, false)
	}
	l.keep("the references")
	const every = 3
	for name, answer := range answers {
		for first := range every {
			t.Run(fmt.Sprintf("%s from step %d", name, first), func(t *testing.T) {
				l.t = t
				for _, step := range steps {
					f := &trouble{every: every, first: first, answer: answer}
					l.once(step, 0, false, f.wrap)
					l.keep(step.name)
					if f.given == 0 {
						t.Errorf("%s: no request was answered with an error", step.name)
					}
				}
			})
		}
	}
}

//go:build component

package operator

import (
	"context"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/klog/v2"
	"k8s.io/klog/v2/textlogger"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/app"
)

// power is that of programs of the control plane: it fails once, after a step of the operator.
type power struct {
	mu     sync.Mutex
	left   int
	cut    func() error
	failed bool
	err    error
}

func (p *power) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		response, err := next.RoundTrip(r)
		if counted(r) {
			p.step()
		}
		return response, err
	})
}

// step holds up the operator's other requests, too, when they end in a step: nothing overtakes the restart.
func (p *power) step() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failed {
		return
	}
	if p.left--; p.left == 0 {
		p.failed, p.err = true, p.cut()
	}
}

// outage is a restart of programs after a step of a transition.
type outage struct {
	programs []string
	after    int
}

// planes are what loses its power.
var planes = [][]string{{"kube-apiserver"}, {"etcd"}, {"etcd", "kube-apiserver"}}

// Behaviour 22: kube-apiserver and etcd restart after a step of the operator, which goes on to the same state. Each
// transition sees one outage, early or late; with EVERY_STEP=1 each program restarts after each step, those of each
// plane in a lab of its own.
func TestTheControlPlaneRestartsAtEveryStep(t *testing.T) {
	t.Parallel()
	if os.Getenv("EVERY_STEP") != "" {
		for _, programs := range planes {
			t.Run(strings.Join(programs, " and "), func(t *testing.T) {
				t.Parallel()
				newRestartLab(t).everyOutage(t, programs)
			})
		}
		return
	}
	l := newRestartLab(t)
	few := []outage{{planes[0], 2}, {planes[1], 1}, {planes[2], 1}, {planes[0], 1}, {planes[1], 4}, {planes[2], 20}}
	for i, step := range l.steps {
		t.Run(step.name, func(t *testing.T) {
			l.t = t
			if !l.outage(step, few[i]) {
				t.Errorf("it came to its end before step %d", few[i].after)
			}
		})
	}
}

// restartLab is a lab that knows how each of its transitions ends when nothing restarts.
type restartLab struct {
	*lab
	steps []transition
}

func newRestartLab(t *testing.T) restartLab {
	l := restartLab{newLab(t), slices.Concat(pairs()[0], pairs()[1], pairs()[2])}
	l.once(transition{name: "installation", prepare: l.wipe, ask: func(config *registryv1.Config) { config.Spec.ManagementState = registryv1.Managed }}, 0, false)
	l.once(transition{name: "to a claim of one's own", ask: onClaim("mine")}, 0, false)
	for _, step := range l.steps {
		l.once(step, 0, false)
	}
	l.keep("the references")
	return l
}

// everyOutage lets programs restart after each step of each transition. A failure ends it: the next transition
// would begin with what the failed one has left.
func (l restartLab) everyOutage(t *testing.T, programs []string) {
	for pair := range slices.Chunk(l.steps, 2) {
		done := t.Run(pair[0].name, func(t *testing.T) {
			l.t = t
			for after, here, back := 1, true, true; here || back; after = next(after) {
				here = l.outage(pair[0], outage{programs, after})
				back = l.outage(pair[1], outage{programs, after})
			}
		})
		if !done {
			return
		}
	}
}

// outage runs a transition with an outage; false when it came to its end before.
func (l *lab) outage(step transition, o outage) bool {
	l.t.Helper()
	began := time.Now()
	// The cluster's own controllers start anew, too, as they do when they lose their lease: otherwise all that is waited
	// for here is their retries, which come half a minute apart before the garbage collector goes on.
	programs := append(slices.Clone(o.programs), "kube-controller-manager")
	p := &power{left: o.after, cut: func() error { return l.plane.Restart(programs...) }}
	if deaths := l.once(step, 0, false, p.wrap); deaths > 0 {
		l.t.Errorf("%s: the operator ended %d times", step.name, deaths)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		l.t.Fatalf("%s: restart of %v: %v", step.name, o.programs, p.err)
	}
	l.keep(step.name)
	l.t.Logf("%s: %v after step %d (it came to that: %t), %s", step.name, o.programs, o.after, p.failed, time.Since(began).Round(time.Millisecond))
	return p.failed
}

// book keeps what an operator logs.
type book struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *book) Write(line []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(line)
}

func (b *book) has(part string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Contains(b.text.String(), part)
}

// The API server hangs in the middle of a roll-out: the operator neither ends nor loses its lease, says in its log
// what it waits for, and goes on where it was.
func TestAnAPIServerThatHangs(t *testing.T) {
	t.Parallel()
	const hangs = 40 * time.Second
	c := install(t)
	log := &book{}
	ctx, cancel := context.WithCancel(klog.NewContext(context.Background(), textlogger.NewLogger(textlogger.NewConfig(textlogger.Output(log)))))
	options := c.options()
	options.LeaderElect, options.Identity, options.Lease = true, "first", app.DefaultOptions().Lease
	reached := make(chan struct{})
	p := &power{left: 10, cut: func() error { close(reached); return nil }}
	done := c.run(ctx, options, c.writes.wrap, p.wrap)
	ended := sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { _ = ended() })
	c.waitFor(registryv1.ConditionRemoved, registryv1.ConditionTrue, registryv1.ReasonRemoved)
	c.edit(onEmptyDir)
	select {
	case <-reached:
	case <-time.After(patient):
		t.Fatal("the operator does not begin")
	}

	resume := c.plane.Suspend(t, "kube-apiserver")
	select {
	case err := <-done:
		t.Fatalf("the operator ended: %v", err)
	case <-time.After(hangs): // the time itself is what is tested
	}
	if !log.has("The API server does not answer") {
		t.Error("the log does not tell that the API server hangs")
	}
	resume()

	for _, ref := range dataPlane() {
		c.exists(ref)
	}
	if !log.has("The API server answers again") {
		t.Error("the log does not tell that the API server answers again")
	}
	c.settle()
	if holder := c.holder(); holder != "first" {
		t.Errorf("the lease is held by %q", holder)
	}
	if err := ended(); err != nil {
		t.Errorf("the operator ended with: %v", err)
	}
}

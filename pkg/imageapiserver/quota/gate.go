// Package quota keeps the image streams of a namespace within its
// ResourceQuotas and LimitRanges. Kube-apiserver's own quota admission never
// sees aggregated resources, so this is the only place that enforces them.
//
// In: each write of a stream, before and after, in every attempt to store it.
// Out: nothing, or a refusal. Usage is reserved in status.used of each quota
// before the stream is written, by compare-and-swap, so that any number of
// replicas together never exceed a hard limit; after a write that failed it is
// given back. What was reserved for nothing, and what a deletion frees, is
// corrected by the controller quota-status.
//
// The gate writes nothing but status.used (and a missing status.hard) of the
// names that it enforces; kube-controller-manager keeps those, as they stand
// in a status that it takes over. A dry run writes nothing.
package quota

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	coreinformers "k8s.io/client-go/informers/core/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"
	"k8s.io/utils/lru"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/limits"
)

// ErrTryAgain says that the gate cannot decide at the moment: it does not know
// the quotas yet, or too many others write the same quota.
var ErrTryAgain = errors.New("the quota of the namespace cannot be checked at the moment")

// rememberedQuotas is how many written quotas are kept until the informer has
// them.
const rememberedQuotas = 4096

// Options are what the gate needs.
type Options struct {
	// Index counts the namespaces.
	Index *Index
	// Quotas and LimitRanges are informers that the caller starts.
	Quotas      coreinformers.ResourceQuotaInformer
	LimitRanges *limits.Ranges
	// Client reads and writes quotas.
	Client corev1client.ResourceQuotasGetter
	// Events, if set, is told of refusals.
	Events record.EventRecorder
	// Clock of the pauses between attempts; nil is the real clock.
	Clock clock.Clock
}

// Gate admits writes of streams. There is one in each process.
type Gate struct {
	index  *Index
	quotas corelisters.ResourceQuotaLister
	synced func() bool
	ranges *limits.Ranges
	client corev1client.ResourceQuotasGetter
	events record.EventRecorder
	clock  clock.Clock
	// written are quotas as this process last wrote them, by namespace/name;
	// the informer may be behind.
	written *lru.Cache

	mu         sync.Mutex
	namespaces map[string]*namespaceState
	doubts     []func(namespace string)
}

// namespaceState is shared by the requests of one namespace that are under way.
type namespaceState struct {
	// turn holds one token: who has it may reserve.
	turn chan struct{}
	// pending is what requests have reserved and not yet settled.
	pending Amounts
	users   int
}

// NewGate makes the gate of a process.
func NewGate(o Options) *Gate {
	registerMetrics()
	g := &Gate{
		index: o.Index, ranges: o.LimitRanges, client: o.Client, events: o.Events, clock: o.Clock,
		quotas: o.Quotas.Lister(), synced: o.Quotas.Informer().HasSynced,
		written: lru.New(rememberedQuotas), namespaces: map[string]*namespaceState{},
	}
	if g.clock == nil {
		g.clock = clock.RealClock{}
	}
	return g
}

// Pending is what requests to this process have reserved in a namespace and
// not yet settled.
func (g *Gate) Pending(namespace string) Amounts {
	g.mu.Lock()
	defer g.mu.Unlock()
	if state := g.namespaces[namespace]; state != nil {
		return state.pending.plus(nil)
	}
	return Amounts{}
}

// OnDoubt calls fn for each namespace in which a request left a reservation
// behind: its write may have come through or not, or what it reserved could
// not be given back. Nothing else tells that the namespace must be counted. fn
// must not block.
func (g *Gate) OnDoubt(fn func(namespace string)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.doubts = append(g.doubts, fn)
}

func (g *Gate) inDoubt(namespace string) {
	g.mu.Lock()
	listeners := g.doubts
	g.mu.Unlock()
	for _, listener := range listeners {
		listener(namespace)
	}
}

// Begin starts a request. A dry run reserves nothing.
func (g *Gate) Begin(dryRun bool) *Request {
	return &Request{gate: g, dryRun: dryRun}
}

// constraining returns the quotas of a namespace that limit images, by name.
func (g *Gate) constraining(namespace string) ([]*corev1.ResourceQuota, error) {
	if !g.synced() {
		return nil, fmt.Errorf("%w: the quotas are not known yet", ErrTryAgain)
	}
	all, err := g.quotas.ResourceQuotas(namespace).List(labels.Everything())
	if err != nil {
		return nil, fmt.Errorf("quotas of namespace %s: %w", namespace, err)
	}
	var found []*corev1.ResourceQuota
	for _, quota := range all {
		if Constrains(quota) {
			found = append(found, quota)
		}
	}
	return found, nil
}

// checkLimits asks the LimitRanges.
func (g *Gate) checkLimits(stream, old *imageapi.ImageStream) error {
	if g.ranges == nil {
		return nil
	}
	ranges, err := g.ranges.In(stream.Namespace)
	if err != nil {
		return err
	}
	return limits.CheckStream(ranges, stream, old)
}

// enter registers a user of a namespace.
func (g *Gate) enter(namespace string) *namespaceState {
	g.mu.Lock()
	defer g.mu.Unlock()
	state := g.namespaces[namespace]
	if state == nil {
		state = &namespaceState{turn: make(chan struct{}, 1), pending: Amounts{}}
		g.namespaces[namespace] = state
	}
	state.users++
	return state
}

func (g *Gate) leave(namespace string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	state := g.namespaces[namespace]
	if state.users--; state.users == 0 {
		delete(g.namespaces, namespace)
	}
}

// noteReserved adds to what is pending; it may be negative.
func (g *Gate) noteReserved(state *namespaceState, change Amounts) {
	g.mu.Lock()
	defer g.mu.Unlock()
	state.pending = state.pending.plus(change)
}

// take waits for the turn of a namespace.
func (s *namespaceState) take(ctx context.Context) error {
	select {
	case s.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrTryAgain, context.Cause(ctx))
	}
}

func (s *namespaceState) give() { <-s.turn }

// pause waits before another attempt to write a quota.
func (g *Gate) pause(ctx context.Context) error {
	delay := 10*time.Millisecond + rand.N(70*time.Millisecond)
	timer := g.clock.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C():
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrTryAgain, context.Cause(ctx))
	}
}

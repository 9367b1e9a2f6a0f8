package auth

import (
	"context"
	"errors"
	"net/netip"
	"sync"
)

const (
	// reviewsAtOnce and reviewsOfSource bound the reviews that run at the same time, those
	// of everybody and those of one source.
	reviewsAtOnce   = 64
	reviewsOfSource = 16
	// waitingAtOnce and waitingOfSource bound those that wait for their turn.
	waitingAtOnce   = 1024
	waitingOfSource = 256
)

// ErrBusy is why a review was not made: too many wait already.
var ErrBusy = errors.New("too many reviews are waiting")

type sourceKey struct{}

// WithSource notes where the requests of a context come from: the address of the peer.
func WithSource(ctx context.Context, address string) context.Context {
	return context.WithValue(ctx, sourceKey{}, sourceOf(address))
}

// sourceOf is what counts as one: an address, and in IPv6 its network, of which one machine
// has all addresses.
func sourceOf(address string) string {
	parsed, err := netip.ParseAddrPort(address)
	if err != nil {
		return ""
	}
	host := parsed.Addr().Unmap().WithZone("")
	if host.Is4() {
		return host.String()
	}
	network, err := host.Prefix(64)
	if err != nil {
		return ""
	}
	return network.String()
}

// gate lets a bounded number of reviews through, in the order in which they come. A made-up
// token, or a made-up name of a repository, costs one review each, and whoever sends
// thousands of them must neither flood the API server nor keep others waiting: that is why
// each source has a part of the places only.
type gate struct {
	places chan struct{}

	mu      sync.Mutex
	present int
	sources map[string]*source
}

type source struct {
	places  chan struct{}
	present int
}

func newGate() *gate {
	return &gate{places: make(chan struct{}, reviewsAtOnce), sources: map[string]*source{}}
}

// enter waits for a place. leave gives it back and must be called once.
func (g *gate) enter(ctx context.Context) (leave func(), err error) {
	name, _ := ctx.Value(sourceKey{}).(string)
	s := g.arrive(name)
	if s == nil {
		return nil, ErrBusy
	}
	select {
	case s.places <- struct{}{}:
	case <-ctx.Done():
		g.depart(name, s)
		return nil, ctx.Err()
	}
	select {
	case g.places <- struct{}{}:
	case <-ctx.Done():
		<-s.places
		g.depart(name, s)
		return nil, ctx.Err()
	}
	return func() {
		<-g.places
		<-s.places
		g.depart(name, s)
	}, nil
}

// arrive counts who wants a review; nil when too many do.
func (g *gate) arrive(name string) *source {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.sources[name]
	if s == nil {
		s = &source{places: make(chan struct{}, reviewsOfSource)}
	}
	if g.present >= reviewsAtOnce+waitingAtOnce || s.present >= reviewsOfSource+waitingOfSource {
		return nil
	}
	s.present++
	g.present++
	g.sources[name] = s
	return s
}

func (g *gate) depart(name string, s *source) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.present--
	if s.present--; s.present == 0 {
		delete(g.sources, name)
	}
}

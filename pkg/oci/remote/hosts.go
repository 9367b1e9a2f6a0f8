package remote

import (
	"cmp"
	"container/list"
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	configv1 "image.alauda.io/api/config/v1"

	"golang.org/x/time/rate"
	"k8s.io/utils/clock"
)

// hosts remembers, for the whole process, how much each registry may still be asked.
type hosts struct {
	clock   clock.WithDelayedExecution
	perHost int
	limit   int

	mu    sync.Mutex
	known map[string]*list.Element
	// order holds the hosts, the one that was used last at the front.
	order *list.List
}

type hostState struct {
	name   string
	bucket *rate.Limiter
	slots  chan struct{}
	// users counts requests that wait or run: such a host is never forgotten.
	users int
	// pauses are by login: registries count by account, and whoever used up his own must not stop others.
	pauses pauses
}

func newHosts(clock clock.WithDelayedExecution, perHost, limit int) *hosts {
	return &hosts{clock: clock, perHost: perHost, limit: limit, known: map[string]*list.Element{}, order: list.New()}
}

// enter waits until a request to the host may be made. Whoever entered calls leave, once or more.
func (h *hosts) enter(ctx context.Context, name string, limit configv1.RateLimit) (leave func(), err error) {
	state := h.acquire(name, limit)
	login := termsOf(ctx).login
	if err := h.cooling(state, login); err != nil {
		h.release(state)
		return nil, err
	}
	select {
	case state.slots <- struct{}{}:
	case <-ctx.Done():
		h.release(state)
		return nil, interrupted(ctx, name)
	}
	leave = sync.OnceFunc(func() {
		<-state.slots
		h.release(state)
	})
	if err := h.wait(ctx, state); err != nil {
		leave()
		return nil, err
	}
	// Another request may have been told to stop while this one waited.
	if err := h.cooling(state, login); err != nil {
		leave()
		return nil, err
	}
	return leave, nil
}

// wait takes a token from the host's bucket. A caller whose time would be over before gives up at once
// and leaves the token to others.
func (h *hosts) wait(ctx context.Context, state *hostState) error {
	now := h.clock.Now()
	reservation := state.bucket.ReserveN(now, 1)
	delay := reservation.DelayFrom(now)
	if delay <= 0 {
		return nil
	}
	deadline, limited := ctx.Deadline()
	if limited && time.Until(deadline) < delay {
		reservation.CancelAt(now)
		return &Error{Kind: Timeout, Host: state.name, cause: context.DeadlineExceeded,
			Message: "registry " + state.name + ": the time is over before the rate limit allows another request"}
	}
	timer := h.clock.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C():
		return nil
	case <-ctx.Done():
		reservation.CancelAt(h.clock.Now())
		return interrupted(ctx, state.name)
	}
}

func (h *hosts) acquire(name string, limit configv1.RateLimit) *hostState {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.clock.Now()
	element, ok := h.known[name]
	if !ok {
		element = h.order.PushFront(&hostState{
			name: name, bucket: rate.NewLimiter(rate.Limit(limit.QPS), int(limit.Burst)), slots: make(chan struct{}, h.perHost),
		})
		h.known[name] = element
		h.forget(now)
	}
	h.order.MoveToFront(element)
	state := element.Value.(*hostState)
	state.users++
	if state.bucket.Limit() != rate.Limit(limit.QPS) {
		state.bucket.SetLimitAt(now, rate.Limit(limit.QPS))
	}
	if state.bucket.Burst() != int(limit.Burst) {
		state.bucket.SetBurstAt(now, int(limit.Burst))
	}
	return state
}

// forget drops the hosts that were not used for longest, unless somebody uses them or they still owe
// a pause or tokens: forgetting these would lift the limit. Only when the number doubles, which takes an
// attacker with many hosts, these go as well.
func (h *hosts) forget(now time.Time) {
	for element := h.order.Back(); element != nil && h.order.Len() > h.limit; {
		state, previous := element.Value.(*hostState), element.Prev()
		full := state.bucket.TokensAt(now) >= float64(state.bucket.Burst())
		owes := state.pauses.last().After(now) || !full
		if state.users == 0 && element != h.order.Front() && (!owes || h.order.Len() > 2*h.limit) {
			h.order.Remove(element)
			delete(h.known, state.name)
		}
		element = previous
	}
}

func (h *hosts) release(state *hostState) {
	h.mu.Lock()
	defer h.mu.Unlock()
	state.users--
}

// cooling is the error for a host that asked to be left alone, by this login at least.
func (h *hosts) cooling(state *hostState, login string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if rest := state.pauses.of(login).Sub(h.clock.Now()); rest > 0 {
		return throttled(state.name, rest)
	}
	return nil
}

func throttled(host string, rest time.Duration) *Error {
	return &Error{Kind: TooManyRequests, Host: host, RetryAfter: rest,
		Message: "registry " + host + " allows no more requests at present"}
}

// cool starts a pause for one login, which is empty for nobody. A pause that lasts longer is kept.
func (h *hosts) cool(name, login string, pause time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	element, ok := h.known[name]
	if !ok {
		return
	}
	now := h.clock.Now()
	element.Value.(*hostState).pauses.begin(login, now.Add(pause), now)
}

func (h *hosts) cooldowns() []Cooldown {
	h.mu.Lock()
	defer h.mu.Unlock()
	var found []Cooldown
	now := h.clock.Now()
	for element := h.order.Front(); element != nil; element = element.Next() {
		if state := element.Value.(*hostState); state.pauses.last().After(now) {
			found = append(found, Cooldown{Host: state.name, Until: state.pauses.last()})
		}
	}
	slices.SortFunc(found, func(a, b Cooldown) int { return cmp.Compare(a.Host, b.Host) })
	return found
}

// pause reads a Retry-After header, seconds or a date, and keeps it within the bounds.
func pause(header string, now time.Time) time.Duration {
	wanted := time.Duration(0)
	header = strings.TrimSpace(header)
	if seconds, err := strconv.ParseUint(header, 10, 31); err == nil {
		wanted = time.Duration(seconds) * time.Second
	} else if date, err := http.ParseTime(header); err == nil {
		wanted = date.Sub(now)
	} else if header != "" && strings.Trim(header, "0123456789") == "" {
		wanted = maxCooldown
	}
	return min(max(wanted, minCooldown), maxCooldown)
}

package remote

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"image.alauda.io/registry/test/secondregistry"

	configv1 "image.alauda.io/api/config/v1"

	clocktesting "k8s.io/utils/clock/testing"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// Behaviour 42.
func TestCoolDownIsSharedByAllRequestsToAHost(t *testing.T) {
	clock := clocktesting.NewFakeClock(start)
	registry := secondregistry.Start(t, secondregistry.Options{})
	registry.PushImage(t, "app", "v1", secondregistry.Image{})
	other := secondregistry.Start(t, secondregistry.Options{})
	other.PushImage(t, "app", "v1", secondregistry.Image{})
	client := newClient(t, func(o *Options, _ *fixture) { o.Clock = clock })
	fetch := func(r *secondregistry.Registry, repository string) error {
		_, err := client.repository(t, r.Host+"/"+repository, true, nil).Manifest(t.Context(), "v1")
		return err
	}
	if err := fetch(registry, "app"); err != nil {
		t.Fatal(err)
	}
	registry.Throttle("", "**", "120")
	registry.Forget()
	e := wantKind(t, fetch(registry, "app"), TooManyRequests, registry.Host)
	if e.RetryAfter != 2*time.Minute || e.Host != registry.Host {
		t.Errorf("error asks for a pause of %v at %s, want 2m", e.RetryAfter, e.Host)
	}
	registry.Recover()
	clock.Step(time.Minute)
	if e := wantKind(t, fetch(registry, "another/app"), TooManyRequests); e.RetryAfter != time.Minute {
		t.Errorf("what is left of the pause is %v, want 1m", e.RetryAfter)
	}
	if n := len(registry.Requests()); n != 1 {
		t.Errorf("the registry got %d requests, want none after it had asked for a pause", n)
	}
	if err := fetch(other, "app"); err != nil {
		t.Errorf("another registry: %v", err)
	}
	if got := client.Cooldowns(); len(got) != 1 || got[0].Host != registry.Host || !got[0].Until.Equal(start.Add(2*time.Minute)) {
		t.Errorf("cool-downs are %v", got)
	}
	clock.Step(time.Minute)
	if err := fetch(registry, "app"); err != nil {
		t.Errorf("after the pause: %v", err)
	}
	if got := client.Cooldowns(); len(got) != 0 {
		t.Errorf("cool-downs after the pause are %v", got)
	}
}

// Registries count by account: whoever used up his own, or tries wrong passwords, must not stop others.
func TestAPauseIsForTheLoginThatWasSentAway(t *testing.T) {
	for _, tokens := range []bool{false, true} {
		clock := clocktesting.NewFakeClock(start)
		registry := secondregistry.Start(t, secondregistry.Options{Tokens: tokens, Users: map[string]string{"ann": "right", "bob": "right"}})
		registry.PushImage(t, "app", "v1", secondregistry.Image{})
		client := newClient(t, func(o *Options, _ *fixture) { o.Clock = clock })
		fetch := func(user, password string) error {
			_, err := client.repository(t, registry.Host+"/app", true, keys(t, logins{registry.Host: {user, password}})).Manifest(t.Context(), "v1")
			return err
		}
		if err := fetch("ann", "right"); err != nil {
			t.Fatal(err)
		}
		path := "/v2/app/**"
		if tokens {
			path = "/token"
		}
		registry.Throttle("", path, "120")
		wantKind(t, fetch("bob", "wrong"), TooManyRequests)
		registry.Recover()
		registry.Forget()
		wantKind(t, fetch("bob", "wrong"), TooManyRequests)
		if n := registry.Count("", path); n != 0 {
			t.Errorf("tokens %t: %d requests by the login that was sent away, want none", tokens, n)
		}
		if err := fetch("ann", "right"); err != nil {
			t.Errorf("tokens %t: another login: %v", tokens, err)
		}
		clock.Step(2 * time.Minute)
		if err := fetch("bob", "right"); err != nil {
			t.Errorf("tokens %t: after the pause: %v", tokens, err)
		}
	}
}

func TestPausesOfManyLoginsAreForEverybody(t *testing.T) {
	var p pauses
	now := start
	for i := range 3 * maxPauses {
		p.begin(fmt.Sprint(i), now.Add(time.Minute), now)
	}
	if len(p) > maxPauses+1 || !p.of("").After(now) {
		t.Errorf("%d pauses are remembered, and nobody's ends at %v", len(p), p.of(""))
	}
	p.begin("late", now.Add(2*time.Hour), now.Add(time.Hour))
	if len(p) != 1 || p.of("").After(now.Add(time.Hour)) {
		t.Errorf("pauses that are over are remembered: %v", p)
	}
}

func TestPauseIsBounded(t *testing.T) {
	for header, want := range map[string]time.Duration{
		"": minCooldown, "1": minCooldown, "-5": minCooldown, "soon": minCooldown, "31": 31 * time.Second, " 60 ": time.Minute,
		"900": maxCooldown, "901": maxCooldown, "99999999999999999999999": maxCooldown,
		start.Add(5 * time.Minute).Format(http.TimeFormat): 5 * time.Minute,
		start.Add(-time.Hour).Format(http.TimeFormat):      minCooldown,
		start.Add(24 * time.Hour).Format(http.TimeFormat):  maxCooldown,
	} {
		if got := pause(header, start); got != want {
			t.Errorf("Retry-After %q is a pause of %v, want %v", header, got, want)
		}
	}
}

func FuzzPause(f *testing.F) {
	f.Add("120")
	f.Add("Sun, 01 Mar 2026 12:05:00 GMT")
	f.Add("-1")
	f.Fuzz(func(t *testing.T, header string) {
		if got := pause(header, start); got < minCooldown || got > maxCooldown {
			t.Errorf("Retry-After %q is a pause of %v", header, got)
		}
	})
}

func TestRateLimitHoldsPerHostForTheWholeProcess(t *testing.T) {
	clock := clocktesting.NewFakeClock(start)
	h := newHosts(clock, 8, 10)
	limit := configv1.RateLimit{QPS: 2, Burst: 5}
	for i := range 5 {
		leave, err := h.enter(t.Context(), "docker.io", limit)
		if err != nil {
			t.Fatalf("request %d of the burst: %v", i, err)
		}
		leave()
	}
	// A caller whose time ends before its turn is told so at once and takes nothing away.
	hurried, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := h.enter(hurried, "docker.io", limit)
	wantKind(t, err, Timeout, "rate limit")

	entered := make(chan error)
	go func() {
		leave, err := h.enter(context.Background(), "docker.io", limit)
		if err == nil {
			leave()
		}
		entered <- err
	}()
	for deadline := time.Now().Add(10 * time.Second); !clock.HasWaiters(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the sixth request does not wait")
		}
	}
	leave, err := h.enter(t.Context(), "quay.io", limit)
	if err != nil {
		t.Fatalf("another host: %v", err)
	}
	leave()
	clock.Step(500 * time.Millisecond)
	if err := <-entered; err != nil {
		t.Errorf("after half a second: %v", err)
	}
}

func TestRequestsPerHostAreBounded(t *testing.T) {
	registry := secondregistry.Start(t, secondregistry.Options{})
	registry.PushImage(t, "app", "v1", secondregistry.Image{})
	r := newClient(t).repository(t, registry.Host+"/app", true, nil)
	if _, err := r.Manifest(t.Context(), "v1"); err != nil {
		t.Fatal(err)
	}
	var running, most atomic.Int32
	release := make(chan struct{})
	registry.Answer("", "/v2/app/manifests/*", func(w http.ResponseWriter, _ *http.Request) {
		now := running.Add(1)
		defer running.Add(-1)
		for seen := most.Load(); now > seen && !most.CompareAndSwap(seen, now); seen = most.Load() {
		}
		<-release
		fmt.Fprint(w, "{}")
	})
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			if _, err := r.Manifest(t.Context(), "v1"); err != nil {
				t.Error(err)
			}
		})
	}
	for deadline := time.Now().Add(10 * time.Second); running.Load() < 8; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Error("8 requests at a time were not reached")
			break
		}
	}
	close(release)
	group.Wait()
	if got := most.Load(); got != 8 {
		t.Errorf("%d requests ran at a time, want 8", got)
	}
}

func TestStreamsDoNotHoldUpOtherRequests(t *testing.T) {
	registry := secondregistry.Start(t, secondregistry.Options{})
	blob := registry.PushBlob(t, "app", "application/octet-stream", make([]byte, 1000))
	r := newClient(t, func(o *Options, _ *fixture) { o.Limits.PerHost = 1 }).repository(t, registry.Host+"/app", true, nil)
	for range 3 {
		stream, err := r.OpenBlob(t.Context(), blob.Digest, "")
		if err != nil {
			t.Fatal(err)
		}
		defer stream.Body.Close()
	}
}

func TestTheNumberOfRememberedHostsIsBounded(t *testing.T) {
	clock := clocktesting.NewFakeClock(start)
	h := newHosts(clock, 8, 3)
	limit := configv1.RateLimit{QPS: 1, Burst: 1}
	enter := func(name string) {
		t.Helper()
		leave, err := h.enter(t.Context(), name, limit)
		if err != nil {
			t.Fatal(err)
		}
		leave()
	}
	enter("cooling")
	h.cool("cooling", "", 10*time.Minute)
	for i := range 50 {
		clock.Step(2 * time.Second)
		enter(fmt.Sprintf("host-%d", i))
	}
	if n := len(h.known); n > 3 || n != h.order.Len() {
		t.Errorf("%d hosts are remembered, want at most 3", n)
	}
	if got := h.cooldowns(); len(got) != 1 || got[0].Host != "cooling" {
		t.Errorf("the host that asked for a pause was forgotten: %v", got)
	}
}

func TestManyHostsThatAskForAPauseAreForgottenInTheEnd(t *testing.T) {
	h := newHosts(clocktesting.NewFakeClock(start), 8, 3)
	for i := range 50 {
		name := fmt.Sprintf("host-%d", i)
		leave, err := h.enter(t.Context(), name, configv1.RateLimit{QPS: 1, Burst: 1})
		if err != nil {
			t.Fatal(err)
		}
		h.cool(name, "", maxCooldown)
		leave()
	}
	if n := len(h.known); n > 6 || n != h.order.Len() {
		t.Errorf("%d hosts are remembered, want at most 6", n)
	}
}

func TestRatesFollowTheSettings(t *testing.T) {
	r, err := compile(&Settings{RateLimits: configv1.RateLimits{
		Default: configv1.RateLimit{QPS: 3, Burst: 0}, Hosts: map[string]configv1.RateLimit{"docker.io": {QPS: 2, Burst: 5}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]configv1.RateLimit{
		"registry-1.docker.io": {QPS: 2, Burst: 5}, "index.docker.io": {QPS: 2, Burst: 5}, "quay.io": {QPS: 3, Burst: 1},
	} {
		if got := r.rate(canonicalHost(host)); got != want {
			t.Errorf("%s: %+v, want %+v", host, got, want)
		}
	}
}

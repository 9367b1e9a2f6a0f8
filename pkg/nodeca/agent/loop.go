package agent

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"

	"image.alauda.io/registry/pkg/nodeca/reasons"
)

const (
	// debounce collects the events of one change.
	debounce = time.Second
	// heartbeat renews the time of the status between passes that are far apart, for the liveness probe.
	heartbeat = 2 * time.Minute
	maxRetry  = time.Minute
)

// Run repeats passes until the context ends. Nothing is removed when it ends.
func (a *Agent) Run(ctx context.Context) error {
	if err := a.serveMetrics(ctx); err != nil {
		return err
	}
	watch := newWatcher(a.log)
	defer watch.close()
	beat := a.clock.NewTicker(heartbeat)
	defer beat.Stop()
	failures := 0
	for {
		// Before the pass, so that what changes during it causes another one.
		watch.update(a.watched())
		status, again := a.pass(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err := WriteStatus(a.options.StateDir, status); err != nil {
			a.log.Error("cannot write the status for the probes", zap.Error(err))
		}
		watch.update(a.watched())
		if status.Ready && !status.worst(reasons.Error) {
			failures = 0
		} else {
			failures++
		}
		if !a.wait(ctx, watch, beat.C(), a.delay(failures, again)) {
			return nil
		}
	}
}

// delay is the time to the next pass if nothing happens.
func (a *Agent) delay(failures int, again time.Duration) time.Duration {
	next := time.Duration(float64(a.options.Resync) * (0.9 + 0.2*rand.Float64()))
	if failures > 0 {
		next = min(next, maxRetry, time.Second<<min(failures-1, 6))
	}
	if again > 0 {
		next = min(next, again)
	}
	return next
}

// wait returns true when the next pass is due, false when the agent is to stop.
func (a *Agent) wait(ctx context.Context, watch *watcher, beat <-chan time.Time, delay time.Duration) bool {
	timer := a.clock.NewTimer(delay)
	defer timer.Stop()
	due := a.clock.Now().Add(delay)
	for {
		select {
		case <-ctx.Done():
			return false
		case <-timer.C():
			return true
		case <-beat:
			a.last.Time = a.clock.Now()
			if err := WriteStatus(a.options.StateDir, a.last); err != nil {
				a.log.Error("cannot write the status for the probes", zap.Error(err))
			}
		case event, open := <-watch.events():
			if !open {
				watch.disable()
				continue
			}
			if !a.relevant(event) {
				continue
			}
			// The first event makes the pass due in a second; the following ones are part of it.
			if soon := a.clock.Now().Add(debounce); soon.Before(due) {
				due = soon
				timer.Reset(debounce)
			}
		}
	}
}

// serveMetrics starts the metrics server; it ends with the context.
func (a *Agent) serveMetrics(ctx context.Context) error {
	if a.options.MetricsAddr == "" {
		return nil
	}
	listener, err := net.Listen("tcp", a.options.MetricsAddr)
	if err != nil {
		return fmt.Errorf("metrics server: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(a.metrics.Registry, promhttp.HandlerOpts{}))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute}
	go func() {
		<-ctx.Done()
		server.Close()
	}()
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			a.log.Error("metrics server stopped", zap.Error(err))
		}
	}()
	return nil
}

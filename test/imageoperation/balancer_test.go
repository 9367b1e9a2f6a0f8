//go:build component

package imageoperation

import (
	"context"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"image.alauda.io/registry/test/imageapi"
)

// probePeriod is how often the balancer asks whether a replica is ready; a kubelet takes longer.
const probePeriod = 200 * time.Millisecond

// balancer passes connections to ready replicas in turn, as a Service does.
type balancer struct {
	listener net.Listener
	accepted atomic.Int64

	mu    sync.Mutex
	ready []*imageapi.Replica
	next  int
}

func newBalancer(t *testing.T) *balancer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &balancer{listener: listener}
	go b.serve()
	t.Cleanup(func() { listener.Close() })
	return b
}

func (b *balancer) port() int { return b.listener.Addr().(*net.TCPAddr).Port }

func (b *balancer) serve() {
	for {
		conn, err := b.listener.Accept()
		if err != nil {
			return
		}
		b.accepted.Add(1)
		go b.pass(conn)
	}
}

func (b *balancer) pass(conn net.Conn) {
	defer conn.Close()
	replica := b.pick()
	if replica == nil {
		return
	}
	backend, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(replica.Port)))
	if err != nil {
		return
	}
	defer backend.Close()
	go func() {
		_, _ = io.Copy(backend, conn)
		backend.Close()
	}()
	_, _ = io.Copy(conn, backend)
}

func (b *balancer) pick() *imageapi.Replica {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.ready) == 0 {
		return nil
	}
	b.next++
	return b.ready[b.next%len(b.ready)]
}

// add takes a ready replica in until it is not ready any more.
func (b *balancer) add(t *testing.T, replica *imageapi.Replica) {
	t.Helper()
	b.mu.Lock()
	b.ready = append(b.ready, replica)
	b.mu.Unlock()
	go func() {
		ticker := time.NewTicker(probePeriod)
		defer ticker.Stop()
		for range ticker.C {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			err := replica.Ready(ctx)
			cancel()
			if err != nil {
				break
			}
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		for i, one := range b.ready {
			if one == replica {
				b.ready = append(b.ready[:i:i], b.ready[i+1:]...)
				break
			}
		}
	}()
}

package server

import (
	"context"
	"net"
	"net/http"
	"sync"
	"syscall"
)

// gatheringListener accepts connections whose TLS records can be sent together.
type gatheringListener struct{ net.Listener }

// Accept implements net.Listener.
func (l gatheringListener) Accept() (net.Conn, error) {
	connection, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &gatherer{Conn: connection}, nil
}

// gatherer lies between TLS and the network. TLS sends each record, which has room for 16 KiB, by a system
// call of its own, 64 for a MiB, and the network carries each by itself. While a buffer is lent, records wait in
// it until it has no room for one more of their size.
type gatherer struct {
	net.Conn

	mu sync.Mutex
	// held are records that were not sent yet, nil while no buffer is lent.
	held []byte
	// broken is why the connection cannot be used any more, for half a record may have been sent, and lost how
	// much of what was held did not go out then.
	broken error
	lost   int
}

// SyscallConn lets the watch ask the system about the connection.
func (g *gatherer) SyscallConn() (syscall.RawConn, error) {
	socket, ok := g.Conn.(syscall.Conn)
	if !ok {
		return nil, syscall.EINVAL
	}
	return socket.SyscallConn()
}

// Write implements net.Conn. It gets one record at a time. What it sends while TLS writes is sent under the
// same deadlines, and given up in the same way, as without it.
func (g *gatherer) Write(p []byte) (int, error) {
	g.mu.Lock()
	if g.held == nil {
		g.mu.Unlock() // so that nobody waits for a lock here whom a deadline should wake
		return g.Conn.Write(p)
	}
	defer g.mu.Unlock()
	if len(p) > g.room() {
		if err := g.sendHeld(); err != nil {
			return 0, err
		}
	}
	if len(p) > g.room() {
		return g.Conn.Write(p)
	}
	g.held = append(g.held, p...)
	if len(p) > g.room() {
		if err := g.sendHeld(); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

func (g *gatherer) room() int { return cap(g.held) - len(g.held) }

// sendHeld needs the lock.
func (g *gatherer) sendHeld() error {
	if len(g.held) > 0 && g.broken == nil {
		n, err := g.Conn.Write(g.held)
		if err != nil {
			g.broken, g.lost = err, len(g.held)-n
		}
		g.held = g.held[:0]
	}
	return g.broken
}

// lend makes records wait in the buffer from now on.
func (g *gatherer) lend(buffer []byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held = buffer[:0]
}

// send sends what waits.
func (g *gatherer) send() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.sendHeld()
}

// giveBack sends what waits and ends the use of the buffer. lost is how much did not reach the system since
// the buffer was lent.
func (g *gatherer) giveBack() (lost int, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	err = g.sendHeld()
	g.held = nil
	return g.lost, err
}

type gathererKey struct{}

// withGatherer lets the requests of a connection gather its records.
func withGatherer(ctx context.Context, connection net.Conn) context.Context {
	if secured, ok := connection.(interface{ NetConn() net.Conn }); ok {
		if g, ok := secured.NetConn().(*gatherer); ok {
			return context.WithValue(ctx, gathererKey{}, g)
		}
	}
	return ctx
}

// gathererOf is nil where records cannot be gathered: over HTTP/2 several answers share a connection.
func gathererOf(r *http.Request) *gatherer {
	if r.ProtoMajor != 1 {
		return nil
	}
	g, _ := r.Context().Value(gathererKey{}).(*gatherer)
	return g
}

package webhook

import (
	"net"
	"sync"
)

// perSource is a listener that lets no single address hold more than its share of the connections: otherwise
// one Pod could keep all API servers out.
type perSource struct {
	net.Listener
	limit int

	mu   sync.Mutex
	open map[string]int
}

func newPerSource(listener net.Listener, limit int) *perSource {
	return &perSource{Listener: listener, limit: limit, open: map[string]int{}}
}

// Accept implements net.Listener. It closes what exceeds a share and waits for the next connection.
func (p *perSource) Accept() (net.Conn, error) {
	for {
		conn, err := p.Listener.Accept()
		if err != nil {
			return nil, err
		}
		source := hostOf(conn.RemoteAddr())
		if p.take(source) {
			return &counted{Conn: conn, free: sync.OnceFunc(func() { p.free(source) })}, nil
		}
		_ = conn.Close() // Nobody waits for how that ends.
	}
}

func (p *perSource) take(source string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open[source] >= p.limit {
		return false
	}
	p.open[source]++
	return true
}

func (p *perSource) free(source string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open[source]--; p.open[source] <= 0 {
		delete(p.open, source)
	}
}

func hostOf(address net.Addr) string {
	if tcp, ok := address.(*net.TCPAddr); ok {
		return tcp.IP.String()
	}
	return address.String()
}

// counted gives its place back when it is closed.
type counted struct {
	net.Conn
	free func()
}

// Close implements net.Conn.
func (c *counted) Close() error {
	defer c.free()
	return c.Conn.Close()
}

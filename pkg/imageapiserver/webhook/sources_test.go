package webhook

import (
	"io"
	"net"
	"testing"
	"time"
)

// One Pod that opens connections and keeps them must not keep others out.
func TestNoSourceHoldsAllConnections(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener := newPerSource(inner, 2)
	defer listener.Close()
	accepted := make(chan net.Conn, 10)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			accepted <- conn
		}
	}()
	dial := func(from string) net.Conn {
		t.Helper()
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 10 * time.Second}
		conn, err := dialer.DialContext(t.Context(), "tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	served := func(from string) net.Conn {
		t.Helper()
		dial(from)
		select {
		case conn := <-accepted:
			return conn
		case <-time.After(10 * time.Second):
			t.Fatalf("a connection from %s is not served", from)
			return nil
		}
	}
	first := served("127.0.0.1")
	served("127.0.0.1")
	over := dial("127.0.0.1")
	if err := over.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := over.Read(make([]byte, 1)); err == nil || err != io.EOF && isTimeout(err) {
		t.Errorf("one connection too many: %v, want it to be closed", err)
	}
	other := served("127.0.0.2")
	for range 2 {
		if err := first.Close(); err != nil && err != net.ErrClosed {
			t.Log(err) // The second close of a connection says so, and must not count twice.
		}
	}
	served("127.0.0.1")
	third := dial("127.0.0.1")
	if err := third.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := third.Read(make([]byte, 1)); err == nil || isTimeout(err) {
		t.Errorf("a connection that was closed twice counts twice: %v", err)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	listener.mu.Lock()
	defer listener.mu.Unlock()
	if _, left := listener.open["127.0.0.2"]; left {
		t.Error("an address without connections is remembered")
	}
}

func isTimeout(err error) bool {
	timeout, ok := err.(net.Error)
	return ok && timeout.Timeout()
}

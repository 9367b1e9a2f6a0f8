package server

import (
	"context"
	"net"
)

type connectionKey struct{}

// withConnection lets the requests of a connection find out how much of what was sent on it has arrived.
func withConnection(ctx context.Context, connection net.Conn) context.Context {
	return context.WithValue(ctx, connectionKey{}, acknowledgedBytes(connection))
}

// connectionCount finds what withConnection put there; nil for a request without a connection.
func connectionCount(ctx context.Context) func() (uint64, bool) {
	count, _ := ctx.Value(connectionKey{}).(func() (uint64, bool))
	return count
}

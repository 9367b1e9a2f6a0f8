package server

import (
	"context"
	"net"

	"image.alauda.io/registry/pkg/registry/auth"
)

type connectionKey struct{}

// withConnection lets the requests of a connection find out how much of what was sent on it has arrived, and whose
// reviews theirs count among.
func withConnection(ctx context.Context, connection net.Conn) context.Context {
	if peer := connection.RemoteAddr(); peer != nil {
		ctx = auth.WithSource(ctx, peer.String())
	}
	return context.WithValue(ctx, connectionKey{}, acknowledgedBytes(connection))
}

// connectionCount finds what withConnection put there; nil for a request without a connection.
func connectionCount(ctx context.Context) func() (uint64, bool) {
	count, _ := ctx.Value(connectionKey{}).(func() (uint64, bool))
	return count
}

package server

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// acknowledgedBytes returns a function that asks the system how much of what was sent on a connection has arrived.
func acknowledgedBytes(connection net.Conn) func() (uint64, bool) {
	if secured, ok := connection.(interface{ NetConn() net.Conn }); ok {
		connection = secured.NetConn()
	}
	socket, ok := connection.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return nil
	}
	return func() (count uint64, known bool) {
		err := raw.Control(func(descriptor uintptr) {
			if info, err := unix.GetsockoptTCPInfo(int(descriptor), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
				count, known = info.Bytes_acked, true
			}
		})
		return count, known && err == nil
	}
}

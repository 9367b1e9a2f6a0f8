package host

import (
	"net"
	"strconv"
	"strings"
	"testing"
)

func TestABusyPortIsNamed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	err = CheckPort("127.0.0.1", port)
	if err == nil || !strings.Contains(err.Error(), strconv.Itoa(port)) || strings.Contains(err.Error(), "\n") {
		t.Errorf("error %v does not name port %d in one line", err, port)
	}
	_ = l.Close()
	if err := CheckPort("127.0.0.1", port); err != nil {
		t.Errorf("free port: %v", err)
	}
}

package forward

import (
	"context"
	"io"
	"net"
	"slices"
	"strconv"
	"testing"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

func ports(numbers ...int32) []discoveryv1.EndpointPort {
	var out []discoveryv1.EndpointPort
	for _, n := range numbers {
		out = append(out, discoveryv1.EndpointPort{Port: &n})
	}
	return out
}

func endpoint(address string, ready bool) discoveryv1.Endpoint {
	return discoveryv1.Endpoint{Addresses: []string{address}, Conditions: discoveryv1.EndpointConditions{Ready: &ready}}
}

func TestOnlyReadyEndpointsOfThePortAreUsed(t *testing.T) {
	for name, tc := range map[string]struct {
		slices []*discoveryv1.EndpointSlice
		want   []string
	}{
		"nothing": {},
		"ready ones, once each, sorted": {[]*discoveryv1.EndpointSlice{
			{Ports: ports(5000), Endpoints: []discoveryv1.Endpoint{endpoint("198.18.64.3", true), endpoint("198.18.64.2", false)}},
			{Ports: ports(5000), Endpoints: []discoveryv1.Endpoint{endpoint("198.18.64.3", true), endpoint("198.18.64.1", true)}},
		}, []string{"198.18.64.1:5000", "198.18.64.3:5000"}},
		"the wanted port of several": {[]*discoveryv1.EndpointSlice{
			{Ports: ports(80, 5000), Endpoints: []discoveryv1.Endpoint{endpoint("198.18.64.3", true)}},
		}, []string{"198.18.64.3:5000"}},
		"another number when there is one port": {[]*discoveryv1.EndpointSlice{
			{Ports: ports(8443), Endpoints: []discoveryv1.Endpoint{endpoint("198.18.64.3", true)}},
		}, []string{"198.18.64.3:8443"}},
		"no such port": {[]*discoveryv1.EndpointSlice{
			{Ports: ports(80, 81), Endpoints: []discoveryv1.Endpoint{endpoint("198.18.64.3", true)}},
		}, nil},
	} {
		if got := Endpoints(tc.slices, 5000); !slices.Equal(got, tc.want) {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func TestAConnectionReachesTheNextEndpointWhenOneIsDead(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	server := listen(t)
	go func() {
		for {
			conn, err := server.Accept()
			if err != nil {
				return
			}
			go func() {
				b, _ := io.ReadAll(conn)
				_, _ = conn.Write(append([]byte("got "), b...))
				_ = conn.Close()
			}()
		}
	}()
	port := int32(server.Addr().(*net.TCPAddr).Port)
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "a", Labels: map[string]string{discoveryv1.LabelServiceName: "svc"}},
		Ports:      ports(port),
		Endpoints:  []discoveryv1.Endpoint{endpoint("127.0.0.1", true), endpoint("127.0.0.2", true)},
	}
	f := New(fake.NewClientset(slice), Service{Namespace: "ns", Name: "svc", Port: port})
	real := f.dial
	f.dial = func(ctx context.Context, address string) (net.Conn, error) {
		if address == net.JoinHostPort("127.0.0.2", strconv.Itoa(int(port))) {
			return nil, &net.OpError{Op: "dial", Err: net.UnknownNetworkError("dead")}
		}
		return real(ctx, address)
	}
	front := listen(t)
	done := make(chan error, 1)
	go func() { done <- f.Serve(ctx, front) }()
	for range 4 {
		conn, err := net.Dial("tcp", front.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = conn.Write([]byte("hello"))
		_ = conn.(*net.TCPConn).CloseWrite()
		answer, err := io.ReadAll(conn)
		if err != nil || string(answer) != "got hello" {
			t.Errorf("answer %q, %v", answer, err)
		}
		_ = conn.Close()
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

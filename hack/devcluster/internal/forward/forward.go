// Package forward gives the machine itself a way to a Service of the cluster.
//
// The machine has no kube-proxy; it reaches Pods by route but no Service
// address. A forwarder listens on the loopback address and passes every
// connection on to a ready endpoint of one Service, one after the other, and to
// the next when one does not answer. It does not look into what it passes on,
// so TLS stays between the client and the Pod.
package forward

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	discoverylisters "k8s.io/client-go/listers/discovery/v1"
)

// dialTimeout bounds the wait for a node that was cut off.
const dialTimeout = 3 * time.Second

// Service names the port that is passed on.
type Service struct {
	Namespace, Name string
	Port            int32
}

// Forwarder passes connections on.
type Forwarder struct {
	service Service
	slices  discoverylisters.EndpointSliceLister
	start   func(context.Context) bool
	next    atomic.Uint64
	dial    func(ctx context.Context, address string) (net.Conn, error)
}

// New prepares a forwarder that watches the endpoints of a Service.
func New(client kubernetes.Interface, service Service) *Forwarder {
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(service.Namespace))
	lister := factory.Discovery().V1().EndpointSlices()
	informer := lister.Informer()
	dialer := &net.Dialer{Timeout: dialTimeout}
	return &Forwarder{
		service: service,
		slices:  lister.Lister(),
		start: func(ctx context.Context) bool {
			factory.Start(ctx.Done())
			factory.WaitForCacheSync(ctx.Done())
			return informer.HasSynced()
		},
		dial: func(ctx context.Context, address string) (net.Conn, error) {
			return dialer.DialContext(ctx, "tcp", address)
		},
	}
}

// Serve accepts connections until ctx ends.
func (f *Forwarder) Serve(ctx context.Context, listener net.Listener) error {
	go func() { <-ctx.Done(); _ = listener.Close() }()
	if !f.start(ctx) {
		return fmt.Errorf("watch endpoints: %w", ctx.Err())
	}
	log.Printf("passing %s on to %s/%s", listener.Addr(), f.service.Namespace, f.service.Name)
	for {
		conn, err := listener.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		go f.serve(ctx, conn)
	}
}

func (f *Forwarder) serve(ctx context.Context, client net.Conn) {
	defer client.Close()
	server, err := f.connect(ctx)
	if err != nil {
		log.Printf("connection from %s: %v", client.RemoteAddr(), err)
		return
	}
	defer server.Close()
	pass(ctx, client, server)
}

// pass copies both ways and hands the end of one direction on, so that a
// request whose end is the end of the stream is answered.
func pass(ctx context.Context, a, b net.Conn) {
	stop := context.AfterFunc(ctx, func() { _ = a.Close(); _ = b.Close() })
	defer stop()
	done := make(chan struct{}, 2)
	for _, pair := range [][2]net.Conn{{a, b}, {b, a}} {
		go func() {
			if _, err := io.Copy(pair[0], pair[1]); err != nil {
				_ = a.Close()
				_ = b.Close()
			} else if half, ok := pair[0].(interface{ CloseWrite() error }); ok {
				_ = half.CloseWrite()
			}
			done <- struct{}{}
		}()
	}
	<-done
	<-done
}

func (f *Forwarder) connect(ctx context.Context) (net.Conn, error) {
	all, err := f.slices.EndpointSlices(f.service.Namespace).List(labels.SelectorFromSet(labels.Set{discoveryv1.LabelServiceName: f.service.Name}))
	if err != nil {
		return nil, err
	}
	addresses := Endpoints(all, f.service.Port)
	if len(addresses) == 0 {
		return nil, fmt.Errorf("service %s/%s has no ready endpoint", f.service.Namespace, f.service.Name)
	}
	first := int(f.next.Add(1) % uint64(len(addresses)))
	var failed error
	for i := range addresses {
		conn, err := f.dial(ctx, addresses[(first+i)%len(addresses)])
		if err == nil {
			return conn, nil
		}
		failed = errors.Join(failed, err)
	}
	return nil, failed
}

// Endpoints lists the addresses of ready endpoints, sorted. A slice says the
// port of the Pod under the name that the Service gave its port; the port with
// the wanted number is taken, or the only one.
func Endpoints(all []*discoveryv1.EndpointSlice, port int32) []string {
	var addresses []string
	for _, slice := range all {
		target, ok := targetPort(slice.Ports, port)
		if !ok {
			continue
		}
		for _, e := range slice.Endpoints {
			if e.Conditions.Ready != nil && !*e.Conditions.Ready || len(e.Addresses) == 0 {
				continue
			}
			addresses = append(addresses, net.JoinHostPort(e.Addresses[0], strconv.Itoa(int(target))))
		}
	}
	slices.Sort(addresses)
	return slices.Compact(addresses)
}

func targetPort(ports []discoveryv1.EndpointPort, wanted int32) (int32, bool) {
	for _, p := range ports {
		if p.Port != nil && (*p.Port == wanted || len(ports) == 1) {
			return *p.Port, true
		}
	}
	return 0, false
}

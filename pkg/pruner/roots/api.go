package roots

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/net/http2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
)

// API is what the API server says of itself.
type API interface {
	// Resources lists what is served, the preferred version of a group first, and the group versions of
	// which that is not known.
	Resources(ctx context.Context) ([]*metav1.APIResourceList, map[schema.GroupVersion]error, error)
	// Schemas lists where the schemas of group versions are published.
	Schemas(ctx context.Context) (map[schema.GroupVersion]string, error)
	// Document reads the schemas of a group version. A server that has none answers not found.
	Document(ctx context.Context, location string) (io.ReadCloser, error)
}

const (
	attempts   = 5
	firstDelay = 500 * time.Millisecond
	// maxIndex bounds the list of published schemas.
	maxIndex = 16 << 20
)

// server is the API of a cluster.
type server struct {
	discovery *discovery.DiscoveryClient
	clock     clock.Clock
}

// NewAPI returns the API of the cluster that config leads to. Requests are tried several times.
func NewAPI(config *rest.Config, clock clock.Clock) (API, error) {
	client, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("client of discovery: %w", err)
	}
	return &server{discovery: client, clock: clock}, nil
}

// Resources implements API.
func (s *server) Resources(ctx context.Context) (lists []*metav1.APIResourceList, failed map[schema.GroupVersion]error, err error) {
	err = s.retry(ctx, func() error {
		_, lists, err = s.discovery.ServerGroupsAndResourcesWithContext(ctx)
		var partial *discovery.ErrGroupDiscoveryFailed
		if failed = nil; errors.As(err, &partial) {
			failed, err = partial.Groups, nil
		}
		return err
	})
	return lists, failed, err
}

// Schemas implements API.
func (s *server) Schemas(ctx context.Context) (map[schema.GroupVersion]string, error) {
	var index struct {
		Paths map[string]struct {
			ServerRelativeURL string `json:"serverRelativeURL"`
		} `json:"paths"`
	}
	body, err := s.open(ctx, "/openapi/v3", nil)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	if err := json.NewDecoder(io.LimitReader(body, maxIndex)).Decode(&index); err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	found := map[schema.GroupVersion]string{}
	for path, entry := range index.Paths {
		var gv schema.GroupVersion
		if parts := splitPath(path); len(parts) == 3 && parts[0] == "apis" {
			gv = schema.GroupVersion{Group: parts[1], Version: parts[2]}
			found[gv] = entry.ServerRelativeURL
		}
	}
	return found, nil
}

// Document implements API.
func (s *server) Document(ctx context.Context, location string) (io.ReadCloser, error) {
	parsed, err := url.Parse(location)
	if err != nil || parsed.Host != "" || parsed.Path == "" {
		return nil, fmt.Errorf("%q is not an address on the API server", location)
	}
	return s.open(ctx, parsed.Path, parsed.Query())
}

func (s *server) open(ctx context.Context, path string, query url.Values) (body io.ReadCloser, err error) {
	err = s.retry(ctx, func() error {
		request := s.discovery.RESTClient().Get().AbsPath(path).SetHeader("Accept", "application/json")
		for name, values := range query {
			for _, value := range values {
				request.Param(name, value)
			}
		}
		body, err = request.Stream(ctx)
		return err
	})
	return body, err
}

// retry tries again while the server is only busy or restarting.
func (s *server) retry(ctx context.Context, do func() error) error {
	delay := firstDelay
	for attempt := 1; ; attempt++ {
		err := do()
		if err == nil || attempt == attempts || !Passing(err) || ctx.Err() != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-s.clock.After(delay):
		}
		delay *= 2
	}
}

// Passing tells a busy or restarting server from one that refuses. A server that ends in the middle of an
// answer cuts it off.
func Passing(err error) bool {
	var reset http2.StreamError
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &reset) {
		return true
	}
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		code := status.Status().Code
		return code == http.StatusTooManyRequests || code >= http.StatusInternalServerError
	}
	return utilnet.IsConnectionReset(err) || utilnet.IsConnectionRefused(err) || utilnet.IsProbableEOF(err) ||
		utilnet.IsTimeout(err) || utilnet.IsHTTP2ConnectionLost(err) || errors.Is(err, context.DeadlineExceeded)
}

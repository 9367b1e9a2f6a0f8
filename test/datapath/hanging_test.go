//go:build component

package datapath

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"image.alauda.io/registry/manifests"
	"image.alauda.io/registry/test/controlplane"
	"image.alauda.io/registry/test/imageapi"
)

const (
	// answersAtOnce is less than anything takes that waits for an API server which does not answer.
	answersAtOnce = 8 * time.Second
	// answersAtLast is when a request has its answer at the latest that waits in vain, with time for a slow machine.
	answersAtLast = 60 * time.Second
)

// question is a request and what has to come of it.
type question struct {
	method, path string
	login        authn.Authenticator
	body         []byte
	status       int
	within       time.Duration
}

// hung is a registry in a process of its own, below which something hangs.
type hung struct {
	*environment
	process interface{ Signal(os.Signal) error }
	log     string
	client  *http.Client
}

func startHung(t *testing.T) (*hung, *controlplane.ControlPlane) {
	t.Helper()
	plane := controlplane.Start(t)
	e := &environment{Server: imageapi.Start(t, plane, "--config="+apiConfig(t)), storage: t.TempDir(), host: freeAddress(t)}
	imageapi.Apply(t, plane.Config, "image-registry", "rbac.yaml")
	imageapi.Apply(t, plane.Config, manifests.Shared, "user-roles.yaml")
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	must(t, err)
	t.Cleanup(func() { _ = log.Close() })
	h := &hung{environment: e, log: log.Name(), client: &http.Client{Transport: &http.Transport{}, Timeout: 2 * answersAtLast}}
	config := e.registryConfig(t, nil, "", "auth: {cache: {allowttl: 10m, tokenttl: 10m}}\n  metrics: {enabled: true, secret: hidden}\n  kubeclient: {timeout: 12s}")
	h.process = e.loggingProcess(t, config, e.host, log).Process
	return h, plane
}

// asks makes a request and tells what is wrong with the answer.
func (h *hung) asks(what string, q question) error {
	request, err := http.NewRequest(q.method, "http://"+h.host+q.path, bytes.NewReader(q.body))
	if err != nil {
		return err
	}
	if q.login != nil {
		credentials, err := q.login.Authorization()
		if err != nil {
			return err
		}
		request.SetBasicAuth(credentials.Username, credentials.Password)
	}
	if q.method == http.MethodPut {
		request.Header.Set("Content-Type", "application/vnd.docker.distribution.manifest.v2+json")
	}
	began := time.Now()
	response, err := h.client.Do(request)
	if err != nil {
		return fmt.Errorf("%s: no answer: %w", what, err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	took := time.Since(began)
	switch {
	case err != nil:
		return fmt.Errorf("%s: the answer breaks off: %w", what, err)
	case response.StatusCode != q.status:
		return fmt.Errorf("%s: status %d, want %d: %s", what, response.StatusCode, q.status, text)
	case took > q.within:
		return fmt.Errorf("%s was answered after %s, want %s at most", what, took, q.within)
	case q.status == http.StatusServiceUnavailable && (response.Header.Get("Retry-After") == "" || !bytes.Contains(text, []byte(`"code":"UNAVAILABLE"`))):
		return fmt.Errorf("%s: %s with headers %v, want UNAVAILABLE and Retry-After", what, text, response.Header)
	}
	return nil
}

// measured is a number of the registry about itself, 0 when there is nothing to count yet.
func (h *hung) measured(t *testing.T, name string) float64 {
	t.Helper()
	h.client.CloseIdleConnections()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+h.host+"/metrics", nil)
	must(t, err)
	request.Header.Set("Authorization", "Bearer hidden")
	response, err := h.client.Do(request)
	must(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	must(t, err)
	for line := range strings.Lines(string(text)) {
		if rest, found := strings.CutPrefix(line, name+" "); found {
			value, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			must(t, err)
			return value
		}
	}
	if response.StatusCode != http.StatusOK {
		t.Fatalf("metrics: status %d", response.StatusCode)
	}
	return 0
}

// The API server takes requests and answers none, or none that needs its etcd: what the registry knows it goes on
// serving, everything else ends with 503 and not with an answer that is wrong, and the kubelet sees a process that
// lives. It is logged once, costs nothing that stays, and afterwards everything works in the same process.
func TestTheRegistryWhileTheAPIServerHangs(t *testing.T) {
	for program, reviews := range map[string]int{"kube-apiserver": http.StatusServiceUnavailable, "etcd": http.StatusUnauthorized} {
		t.Run(program, func(t *testing.T) {
			t.Parallel()
			h, plane := startHung(t)
			namespace := h.namespace(t)
			known, cold := namespace+"/app", namespace+"/cold"
			user := h.user(t, namespace, "pusher", pusher)
			image := newImage(t)
			for _, repository := range []string{known, cold} {
				must(t, remote.Write(h.tag(t, repository, "v1"), image, as(t, user)...))
			}
			raw, err := image.RawManifest()
			must(t, err)
			layers, err := image.Layers()
			must(t, err)
			at := "/v2/" + known
			warm := map[string]question{
				"a pull by tag":    {method: http.MethodGet, path: at + "/manifests/v1", login: user},
				"a look at a tag":  {method: http.MethodHead, path: at + "/manifests/v1", login: user},
				"a pull by digest": {method: http.MethodGet, path: at + "/manifests/" + hash(t, image).String(), login: user},
				"a layer":          {method: http.MethodGet, path: at + "/blobs/" + hash(t, layers[0]).String(), login: user},
				"the tags":         {method: http.MethodGet, path: at + "/tags/list", login: user},
				"liveness":         {method: http.MethodGet, path: "/livez"},
				"readiness":        {method: http.MethodGet, path: "/readyz"},
			}
			unknownTag := question{method: http.MethodGet, path: at + "/manifests/unknown", login: user}
			// Not to the stream that is read: a push that gets no answer may have been carried out, and what was known of
			// its stream is forgotten.
			push := question{method: http.MethodPut, path: "/v2/" + cold + "/manifests/v2", login: user, body: raw}
			repeat := func(want int) error { // all of them, once
				for what, q := range warm {
					q.status, q.within = want, answersAtOnce
					if err := h.asks(what, q); err != nil {
						return err
					}
				}
				return nil
			}
			imageapi.Eventually(t, "the registry knows the stream", func(context.Context) error {
				before := h.measured(t, `imageregistry_stream_view_requests_total{result="Miss"}`)
				if err := repeat(http.StatusOK); err != nil {
					return err
				}
				if missed := h.measured(t, `imageregistry_stream_view_requests_total{result="Miss"}`) - before; missed > 0 {
					return fmt.Errorf("%v reads of the image API", missed)
				}
				return nil
			})
			goroutines := h.measured(t, "go_goroutines")

			resume := plane.Suspend(t, program)
			var waiting sync.WaitGroup
			vain := func(what string, q question, status int) {
				waiting.Go(func() {
					began := time.Now()
					q.status, q.within = status, answersAtLast
					if err := h.asks(what, q); err != nil {
						t.Error(err)
					}
					if q.login == user {
						t.Logf("%s: %s", what, time.Since(began).Round(time.Millisecond))
					}
				})
			}
			vain("a tag that is not known", unknownTag, http.StatusServiceUnavailable)
			vain("a push", push, http.StatusServiceUnavailable)
			vain("a stream that is not known", question{method: http.MethodGet, path: "/v2/" + namespace + "/other/manifests/v1", login: user}, http.StatusServiceUnavailable)
			for i := range 200 {
				vain("an invented token", question{method: http.MethodGet, path: at + "/manifests/v1", login: &authn.Basic{Username: "x", Password: fmt.Sprintf("invented-%d", i)}}, reviews)
			}
			over := make(chan struct{})
			go func() {
				waiting.Wait()
				close(over)
			}()
			rounds := 0
			for done := false; !done; rounds++ {
				select {
				case <-over:
					done = true
				case <-time.After(100 * time.Millisecond): // what is known is asked for as long as the others wait
					if err := repeat(http.StatusOK); err != nil {
						t.Errorf("round %d: %v", rounds, err)
						done = true
					}
				}
			}
			<-over
			t.Logf("%d rounds of what is known", rounds)
			resume()

			push.status, push.within = http.StatusCreated, answersAtLast
			unknownTag.status, unknownTag.within = http.StatusNotFound, answersAtLast
			for what, q := range map[string]question{
				"a push": push, "a tag that is not known": unknownTag,
				"a stream that was not asked for": {method: http.MethodGet, path: "/v2/" + cold + "/manifests/v1", login: user, status: http.StatusOK, within: answersAtLast},
				"an invented token":               {method: http.MethodGet, path: at + "/manifests/v1", login: &authn.Basic{Username: "x", Password: "invented"}, status: http.StatusUnauthorized, within: answersAtLast},
			} {
				imageapi.Eventually(t, "after the API server came back", func(context.Context) error { return h.asks(what, q) })
			}
			imageapi.Eventually(t, "as few goroutines as before", func(context.Context) error {
				if now := h.measured(t, "go_goroutines"); now > goroutines+10 {
					return fmt.Errorf("%v goroutines, %v before", now, goroutines)
				}
				return nil
			})
			if err := h.process.Signal(syscall.Signal(0)); err != nil {
				t.Errorf("the process that was started is gone: %v", err)
			}
			text, err := os.ReadFile(h.log)
			must(t, err)
			for _, once := range []string{"The API server does not answer", "The API server answers again"} {
				if count := strings.Count(string(text), once); count != 1 {
					t.Errorf("the log says %d times %q, want once:\n%s", count, once, text)
				}
			}
			if lines := strings.Count(string(text), "\n"); lines > 60 {
				t.Errorf("the log has %d lines:\n%s", lines, text)
			}
		})
	}
}

//go:build component

package pruner

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/rest"
)

// pause is how long ago everything seems to have been that was there when time last passed.
const pause = 5 * time.Hour

// calendar lets time pass between rounds for one reader of the Image API: what happened before the last
// pass happened some hours earlier, and what happens since happens now. Moving only the Date of answers,
// as other tests do, would make everything look old that is created during a run.
type calendar struct {
	// passed is when time last passed, in nanoseconds.
	passed atomic.Int64
}

// pass makes everything old that is older than recent.
func (c *calendar) pass(recent time.Duration) {
	c.passed.Store(time.Now().Add(-recent).Truncate(time.Second).UnixNano())
}

var times = regexp.MustCompile(`"(creationTimestamp|created|image\.alauda\.io/lastReferencedTime)":"([^"]+)"`)

// shift moves what lies before the limit.
func shift(document []byte, limit time.Time, by time.Duration) []byte {
	return times.ReplaceAllFunc(document, func(field []byte) []byte {
		parts := times.FindSubmatch(field)
		at, err := time.Parse(time.RFC3339, string(parts[2]))
		if err != nil || !at.Before(limit) {
			return field
		}
		return fmt.Appendf(nil, `"%s":"%s"`, parts[1], at.Add(by).UTC().Format(time.RFC3339))
	})
}

// past is a document as the reader sees it, present as it is stored.
func (c *calendar) past(document []byte) []byte {
	return shift(document, time.Unix(0, c.passed.Load()), -pause)
}

func (c *calendar) present(document []byte) []byte {
	return shift(document, time.Unix(0, c.passed.Load()).Add(-pause), pause)
}

// proxy passes requests on with the credentials of config and returns a kubeconfig for it.
func (c *calendar) proxy(t *testing.T, e *environment, config *rest.Config) string {
	t.Helper()
	transport, err := rest.TransportFor(config)
	fatal(t, err)
	target, err := url.Parse(config.Host)
	fatal(t, err)
	images := func(request *http.Request) bool {
		return strings.HasPrefix(request.URL.Path, "/apis/image.alauda.io/") && request.URL.Query().Get("watch") == ""
	}
	proxy := &httputil.ReverseProxy{
		Transport:    transport,
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }, // of who was killed
		Rewrite: func(request *httputil.ProxyRequest) {
			request.SetURL(target)
			if !images(request.In) {
				return
			}
			request.Out.Header.Del("Accept-Encoding") // the transport unpacks what it asked for itself
			if request.In.Method != http.MethodPut {
				return
			}
			body, err := io.ReadAll(request.In.Body)
			if err != nil {
				body = []byte("{") // of who was killed; nothing may come of it
			}
			body = c.present(body)
			request.Out.Body, request.Out.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		},
		ModifyResponse: func(response *http.Response) error {
			if !images(response.Request) {
				return nil
			}
			body, err := io.ReadAll(response.Body)
			if err != nil {
				return err
			}
			body = c.past(body)
			response.Body, response.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
			response.Header.Set("Content-Length", strconv.Itoa(len(body)))
			return nil
		},
	}
	server := httptest.NewServer(proxy)
	t.Cleanup(server.Close)
	kubeconfig, err := e.CP.WriteKubeconfig("pruner-in-time", &rest.Config{Host: server.URL})
	fatal(t, err)
	return kubeconfig
}

func TestShiftedTimesComeBack(t *testing.T) {
	c := &calendar{}
	c.pass(0)
	limit := time.Unix(0, c.passed.Load()).UTC()
	document := func(times ...time.Time) []byte {
		var text []byte
		for _, at := range times {
			text = fmt.Appendf(text, `{"metadata":{"creationTimestamp":"%s"},"created":null,"text":"%s"}`, at.Format(time.RFC3339), at.Format(time.RFC3339))
		}
		return text
	}
	before, after := limit.Add(-time.Second), limit
	stored := document(before, after)
	seen := c.past(stored)
	if bytes.Equal(seen, stored) || !bytes.Contains(seen, []byte(before.Add(-pause).Format(time.RFC3339))) {
		t.Errorf("seen %s of %s", seen, stored)
	}
	if back := c.present(seen); !bytes.Equal(back, stored) {
		t.Errorf("%s came back as %s", stored, back)
	}
}

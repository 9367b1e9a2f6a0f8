//go:build component

package objectstorage

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

// troubled starts a registry behind a proxy that makes trouble.
func troubled(t *testing.T, settings ...string) (*proxy, *replica) {
	t.Helper()
	s3 := startS3(t)
	front := startProxy(t, s3)
	return front, startReplica(t, nil, s3.parameters("regionendpoint", front.url), append([]string{"  redirect: {disable: true}\n"}, settings...)...)
}

func TestSlowAndFailingBackEnd(t *testing.T) {
	for name, broken := range map[string]http.HandlerFunc{
		"internal errors": refuse(http.StatusInternalServerError, "InternalError"),
		"slow down":       refuse(http.StatusServiceUnavailable, "SlowDown"),
		"resets":          cut,
	} {
		t.Run(name, func(t *testing.T) {
			front, r := troubled(t)
			var n atomic.Int64
			front.make(func(*http.Request) http.HandlerFunc {
				if n.Add(1)%10 == 0 {
					return broken
				}
				return nil
			})
			r.pushAndPull("team/app", 100_000)
		})
	}
	t.Run("slow", func(t *testing.T) {
		front, r := troubled(t)
		front.make(func(*http.Request) http.HandlerFunc {
			time.Sleep(20 * time.Millisecond)
			return nil
		})
		r.pushAndPull("team/app", 100_000)
	})
}

// Behaviour registry 92: readiness follows the storage, everything else goes on, and the
// error names the bucket and what the provider said, but no secrets.
func TestBackEndThatIsGone(t *testing.T) {
	front, r := troubled(t)
	d := r.upload("team/app", []byte("content"))
	front.make(func(*http.Request) http.HandlerFunc { return refuse(http.StatusForbidden, "InvalidAccessKeyId") })
	_, raw := r.want(http.StatusServiceUnavailable, "HEAD", "/v2/team/app/blobs/"+d.String(), nil)
	_, body := r.want(http.StatusServiceUnavailable, "POST", "/v2/team/app/blobs/uploads/", nil)
	if !strings.Contains(string(body), "UNAVAILABLE") || strings.Contains(string(raw)+string(body), accessKey) {
		t.Errorf("answer %s", body)
	}
	err := r.registry.Store.Check(t.Context())
	for _, want := range []string{`S3 bucket "images" at ` + front.url, "InvalidAccessKeyId: says the test"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	if err != nil && (strings.Contains(err.Error(), accessKey) || strings.Contains(err.Error(), secretKey)) {
		t.Errorf("the error shows credentials: %v", err)
	}
	for range 3 {
		r.registry.Health.Report(err)
	}
	r.want(http.StatusServiceUnavailable, "GET", "/readyz", nil)
	r.want(http.StatusOK, "GET", "/livez", nil)
	front.make(nil)
	must(t, r.registry.Store.Check(t.Context()))
	r.registry.Health.Report(nil)
	r.want(http.StatusOK, "GET", "/readyz", nil)
	r.want(http.StatusOK, "GET", "/v2/team/app/blobs/"+d.String(), nil)
}

// Behaviour registry 97: a bucket that is full refuses pushes with a reason, keeps nothing
// of them, and can be read.
func TestFullBucket(t *testing.T) {
	front, r := troubled(t)
	d := r.upload("team/app", []byte("content"))
	front.make(func(request *http.Request) http.HandlerFunc {
		if request.Method == http.MethodPut && request.URL.Query().Has("partNumber") {
			return refuse(http.StatusForbidden, "QuotaExceeded")
		}
		return nil
	})
	large := []byte("does not fit")
	_, body := r.want(http.StatusServiceUnavailable, "POST", "/v2/team/app/blobs/uploads/?digest="+digest.FromBytes(large).String(), bytes.NewReader(large))
	if !strings.Contains(string(body), "full") {
		t.Errorf("answer %s", body)
	}
	r.want(http.StatusOK, "GET", "/v2/team/app/blobs/"+d.String(), nil)
	families, err := r.registry.Metrics.Gatherer().Gather()
	must(t, err)
	counted := false
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			counted = counted || family.GetName() == "imageregistry_storage_errors_total" && strings.Contains(metric.String(), "DEVICE_OUT_OF_SPACE")
		}
	}
	if !counted {
		t.Error("no storage error with the code DEVICE_OUT_OF_SPACE was counted")
	}
}

// A connection that breaks while a blob is read is taken up again where it ended.
func TestReadThatBreaksOff(t *testing.T) {
	front, r := troubled(t)
	whole, err := io.ReadAll(content(5, 8<<20))
	must(t, err)
	d := r.upload("team/app", whole)
	var opened atomic.Int64
	front.make(func(request *http.Request) http.HandlerFunc {
		if request.Method != http.MethodGet || !strings.Contains(request.URL.Path, d.Encoded()) || !strings.HasSuffix(request.URL.Path, "/data") || opened.Add(1) > 3 {
			return nil
		}
		return func(w http.ResponseWriter, request *http.Request) {
			first, _, _ := strings.Cut(strings.TrimPrefix(request.Header.Get("Range"), "bytes="), "-")
			from, err := strconv.Atoi(first)
			if err != nil {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
			rest := whole[from:]
			w.Header().Set("Content-Length", strconv.Itoa(len(rest)))
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(rest[:1<<20])
			panic(http.ErrAbortHandler)
		}
	})
	_, got := r.want(http.StatusOK, "GET", "/v2/team/app/blobs/"+d.String(), nil)
	if !bytes.Equal(got, whole) || opened.Load() != 4 {
		t.Errorf("%d bytes by %d connections", len(got), opened.Load())
	}
}

// A back end that takes requests and says nothing holds nobody for longer than the time-out.
func TestBackEndThatHangs(t *testing.T) {
	front, r := troubled(t, "  http: {iotimeout: 1s}\n")
	d := r.upload("team/app", []byte("content"))
	front.make(func(*http.Request) http.HandlerFunc { return hang })
	start := time.Now()
	for _, request := range []struct{ method, path string }{
		{"HEAD", "/v2/team/app/blobs/" + d.String()}, {"POST", "/v2/team/app/blobs/uploads/"},
	} {
		r.want(http.StatusServiceUnavailable, request.method, request.path, nil)
	}
	if took := time.Since(start); took > time.Minute {
		t.Errorf("it took %s", took)
	}
	if err := r.registry.Store.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "no answer within 1s") {
		t.Errorf("error %v", err)
	}
}

func TestMissingBucketAndWrongCredentials(t *testing.T) {
	s3 := startS3(t)
	for name, c := range map[string]struct {
		parameters map[string]any
		want       []string
	}{
		"missing bucket": {s3.parameters("bucket", "nowhere"), []string{`S3 bucket "nowhere"`, "NoSuchBucket"}},
		"unknown key":    {s3.parameters("accesskey", "unheard-of"), []string{`S3 bucket "images"`, "access key ID"}},
		"wrong secret":   {s3.parameters("secretkey", "guessed"), []string{`S3 bucket "images"`, "SignatureDoesNotMatch"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := startReplica(t, nil, c.parameters)
			err := r.registry.Store.Check(t.Context())
			for _, want := range c.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("error %v, want %q", err, want)
				}
			}
			for _, secret := range []string{secretKey, "guessed"} {
				if err != nil && strings.Contains(err.Error(), secret) {
					t.Errorf("the error shows a secret: %v", err)
				}
			}
			r.want(http.StatusServiceUnavailable, "POST", "/v2/team/app/blobs/uploads/", nil)
		})
	}
	gone := startReplica(t, nil, s3.parameters("regionendpoint", "https://127.0.0.1:1"))
	if err := gone.registry.Store.Check(t.Context()); err == nil || errors.Is(err, io.EOF) || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("error %v, want the reason", err)
	}
}

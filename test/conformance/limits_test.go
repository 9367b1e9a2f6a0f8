package conformance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/registry/app"

	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// namespaceLimits are the limits of all namespaces.
type namespaceLimits struct {
	mu     sync.Mutex
	max    string
	quotas []corev1.ResourceQuota
	err    error
	lists  int
}

func (l *namespaceLimits) set(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
}

func (l *namespaceLimits) LimitRanges(context.Context, string) ([]corev1.LimitRange, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lists++
	if l.err != nil || l.max == "" {
		return nil, l.err
	}
	return []corev1.LimitRange{{ObjectMeta: metav1.ObjectMeta{Name: "images"}, Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{
		{Type: imagev1.LimitTypeImage, Max: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(l.max)}},
	}}}}, nil
}

func (l *namespaceLimits) ResourceQuotas(context.Context, string) ([]corev1.ResourceQuota, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.quotas, l.err
}

func imagesQuota(name string, hard, used int64) corev1.ResourceQuota {
	list := func(n int64) corev1.ResourceList {
		return corev1.ResourceList{imagev1.ResourceImages: *resource.NewQuantity(n, resource.DecimalSI)}
	}
	return corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.ResourceQuotaSpec{Hard: list(hard)}, Status: corev1.ResourceQuotaStatus{Used: list(used)}}
}

func startLimited(t *testing.T, limits *namespaceLimits, settings ...string) *env {
	t.Helper()
	return startWith(t, inmemory.New(), func(deps *app.Dependencies) { deps.Limits = limits }, settings...)
}

const tooLargeText = "requested usage of storage exceeds the maximum limit per alauda.io/Image (%s > 1Ki), LimitRange images"

// session opens an upload and returns where it goes on.
func (e *env) session(repo string) string {
	e.t.Helper()
	return e.do(call{method: "POST", path: "/v2/" + repo + "/blobs/uploads/"}).want(202).Header.Get("Location")
}

func noUploads(t *testing.T, e *env) {
	t.Helper()
	if left, err := e.driver.List(t.Context(), "/docker/registry/v2/repositories/team/app/_uploads"); err == nil && len(left) > 0 {
		t.Errorf("sessions are left: %v", left)
	}
}

// Behaviour 37.
func TestBlobsAboveTheLimitOfTheNamespace(t *testing.T) {
	small, large := make([]byte, 1024), make([]byte, 1025)
	for name, test := range map[string]func(e *env, content []byte) *reply{
		"one request": func(e *env, content []byte) *reply {
			return e.do(call{method: "POST", path: "/v2/team/app/blobs/uploads/?digest=" + digestOf(content), body: content})
		},
		"one request of unknown length": func(e *env, content []byte) *reply {
			return e.do(call{method: "POST", path: "/v2/team/app/blobs/uploads/?digest=" + digestOf(content), body: content, stream: true})
		},
		"one chunk of unknown length": func(e *env, content []byte) *reply {
			sent := e.do(call{method: "PATCH", path: e.session("team/app"), body: content, stream: true})
			if sent.StatusCode != 202 {
				return sent
			}
			return e.do(call{method: "PUT", path: sent.Header.Get("Location") + "&digest=" + digestOf(content)})
		},
		"chunks": func(e *env, content []byte) *reply {
			next := e.do(call{method: "PATCH", path: e.session("team/app"), body: content[:1000]}).want(202).Header.Get("Location")
			sent := e.do(call{method: "PATCH", path: next, body: content[1000:]})
			if sent.StatusCode != 202 {
				return sent
			}
			return e.do(call{method: "PUT", path: sent.Header.Get("Location") + "&digest=" + digestOf(content)})
		},
		"last request": func(e *env, content []byte) *reply {
			return e.do(call{method: "PUT", path: e.session("team/app") + "&digest=" + digestOf(content), body: content})
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := startLimited(t, &namespaceLimits{max: "1Ki"})
			test(e, small).want(201)
			refused := test(e, large).want(403, "DENIED")
			if want := fmt.Sprintf(tooLargeText, "1025"); refused.message() != want {
				t.Errorf("message %q, want %q", refused.message(), want)
			}
			noUploads(t, e)
			e.head("/v2/team/app/blobs/" + digestOf(large)).want(404)
		})
	}
}

// A limit that comes between the last byte and the commit is compared with what was sent.
// Behaviour 37.
func TestTheActualSizeCountsAtCommit(t *testing.T) {
	limits := &namespaceLimits{}
	e := startLimited(t, limits, "ALAUDA=, quota: {cachettl: 0s}")
	content := make([]byte, 3000)
	next := e.do(call{method: "PATCH", path: e.session("team/app"), body: content}).want(202).Header.Get("Location")
	limits.set(func() { limits.max = "1Ki" })
	refused := e.do(call{method: "PUT", path: next + "&digest=" + digestOf(content)}).want(403, "DENIED")
	if want := fmt.Sprintf(tooLargeText, "3000"); refused.message() != want {
		t.Errorf("message %q, want %q", refused.message(), want)
	}
	noUploads(t, e)
	e.do(call{method: "PUT", path: next + "&digest=" + digestOf(content)}).want(404, "BLOB_UPLOAD_UNKNOWN")
}

// An upload without end is refused after the first bytes above the limit.
// Behaviour 37.
func TestAnEndlessUploadEndsAtTheLimit(t *testing.T) {
	e := startLimited(t, &namespaceLimits{max: "1Ki"})
	reader, writer := io.Pipe()
	go func() {
		for {
			if _, err := writer.Write(make([]byte, 512)); err != nil {
				return
			}
		}
	}()
	r, err := http.NewRequestWithContext(t.Context(), "PATCH", e.URL+e.session("team/app"), reader)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+devToken)
	answer, err := http.DefaultClient.Do(r)
	if err == nil {
		defer answer.Body.Close() //nolint:errcheck // the status says it
		if answer.StatusCode != 403 {
			t.Errorf("status %d, want 403", answer.StatusCode)
		}
	} else if !strings.Contains(err.Error(), "broken pipe") && !strings.Contains(err.Error(), "reset") {
		t.Errorf("the upload ended with %v", err)
	}
	_ = reader.Close()
	noUploads(t, e)
}

// Behaviour 37.
func TestImagesAboveTheLimitOfTheNamespace(t *testing.T) {
	limits := &namespaceLimits{}
	e := startLimited(t, limits, "ALAUDA=, quota: {cachettl: 0s}")
	config, layer := []byte(`{"architecture":"amd64","os":"linux"}`), make([]byte, 800)
	other := append(make([]byte, 800), 1)
	for _, blob := range [][]byte{config, layer, other} {
		e.pushBlob("team/app", blob)
	}
	manifest := func(layers ...[]byte) []byte {
		var list []string
		for _, layer := range layers {
			list = append(list, descriptor(ociLayer, layer))
		}
		return fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":%s,"layers":[%s]}`, ociManifest, descriptor(ociConfig, config), strings.Join(list, ","))
	}
	limits.set(func() { limits.max = "1Ki" })
	large := manifest(layer, other)
	for _, reference := range []string{"large", digestOf(large)} {
		refused := e.putManifest("team/app", reference, large, ociManifest).want(403, "DENIED")
		if want := fmt.Sprintf(tooLargeText, "1638"); refused.message() != want {
			t.Errorf("message %q, want %q", refused.message(), want)
		}
		e.get("/v2/team/app/manifests/" + reference).want(404)
	}
	first, second := manifest(layer, layer), manifest(other)
	e.putManifest("team/app", "first", first, ociManifest).want(201)
	e.putManifest("team/app", digestOf(second), second, ociManifest).want(201)
	e.putManifest("team/app", "both", indexOf(first, second), ociIndex).want(201)
}

// Behaviour 37.
func TestALimitIsReadOnceInItsTime(t *testing.T) {
	limits := &namespaceLimits{}
	e := startLimited(t, limits, "ALAUDA=, quota: {cachettl: 1m}")
	e.pushImage("team/app", "one", "one")
	limits.set(func() { limits.max = "1" })
	e.pushImage("team/app", "two", "two")
	if limits.lists != 1 {
		t.Errorf("%d lists of limits for two pushes, want 1", limits.lists)
	}
	e.clock.Step(time.Minute)
	e.do(call{method: "POST", path: "/v2/team/app/blobs/uploads/?digest=" + digestOf([]byte("three")), body: []byte("three")}).want(403, "DENIED")
}

// Behaviour 37.
func TestLimitsThatCannotBeReadStopPushes(t *testing.T) {
	limits := &namespaceLimits{}
	e := startLimited(t, limits, "ALAUDA=, quota: {cachettl: 0s}")
	raw := e.image("team/app", "one")
	content := []byte("waits for the limits")
	next := e.do(call{method: "PATCH", path: e.session("team/app"), body: content}).want(202).Header.Get("Location")
	limits.set(func() { limits.err = errors.New("the API server is away") })
	for _, refused := range []*reply{
		e.putManifest("team/app", "v1", raw, ociManifest),
		e.putManifest("team/app", digestOf(raw), raw, ociManifest),
		e.do(call{method: "POST", path: "/v2/team/app/blobs/uploads/?digest=" + digestOf([]byte("x")), body: []byte("x")}),
		e.do(call{method: "PUT", path: next + "&digest=" + digestOf(content)}),
	} {
		refused.want(503, "UNAVAILABLE")
		if refused.Header.Get("Retry-After") == "" || strings.Contains(string(refused.body), "away") {
			t.Errorf("%s: Retry-After %q, body %s", refused.name, refused.Header.Get("Retry-After"), refused.body)
		}
	}
	e.get("/v2/team/app/manifests/" + digestOf(raw)).want(404)
	limits.set(func() { limits.err = nil })
	// The session is still there, so nothing has to be sent again.
	e.do(call{method: "PUT", path: next + "&digest=" + digestOf(content)}).want(201)
	e.putManifest("team/app", "v1", raw, ociManifest).want(201)
}

func TestLimitsCanBeSwitchedOff(t *testing.T) {
	limits := &namespaceLimits{max: "1", err: errors.New("not asked")}
	e := startLimited(t, limits, "ALAUDA=, quota: {enabled: false}")
	e.pushImage("team/app", "v1", "one")
	if limits.lists != 0 {
		t.Errorf("%d lists", limits.lists)
	}
}

// Behaviour 36: what no tag names is not counted by the image API.
func TestPushesByDigestIntoAFullNamespace(t *testing.T) {
	limits := &namespaceLimits{}
	e := startLimited(t, limits)
	raw := e.image("team/app", "one")
	limits.set(func() { limits.quotas = []corev1.ResourceQuota{imagesQuota("full", 10, 10)} })
	refused := e.putManifest("team/app", digestOf(raw), raw, ociManifest).want(403, "DENIED")
	if want := "exceeded quota: full, requested: alauda.io/images=1, used: alauda.io/images=10, limited: alauda.io/images=10"; refused.message() != want {
		t.Errorf("message %q, want %q", refused.message(), want)
	}
	e.get("/v2/team/app/manifests/" + digestOf(raw)).want(404)
	if e.api.Calls("CreateImage") != 0 {
		t.Error("the image was recorded")
	}
	// With room again the push passes at once, and says how little room there is.
	limits.set(func() { limits.quotas = []corev1.ResourceQuota{imagesQuota("full", 100, 95)} })
	pushed := e.putManifest("team/app", digestOf(raw), raw, ociManifest).want(201)
	pushed.header("Warning", `299 - "quota full: 95 of 100 alauda.io/images are used"`)
}

func TestWarningsOfQuotasAreBounded(t *testing.T) {
	limits := &namespaceLimits{}
	for i := range 100 {
		limits.quotas = append(limits.quotas, imagesQuota(fmt.Sprintf("quota-%03d-%s", i, strings.Repeat("x", 200)), 100, 99))
	}
	e := startLimited(t, limits)
	total := 0
	warnings := e.putManifest("team/app", "v1", e.image("team/app", "one"), ociManifest).want(201).Header.Values("Warning")
	for _, warning := range warnings {
		total += len(warning)
	}
	if len(warnings) == 0 || total > 4096 {
		t.Errorf("%d warnings of %d bytes", len(warnings), total)
	}
}

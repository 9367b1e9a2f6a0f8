package lookup

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	imagev1 "image.alauda.io/api/image/v1"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
)

const (
	registryHost = "registry.test:5000"
	plain        = `"metadata":{}`
	annotated    = `"metadata":{"annotations":{"alpha.image.policy.alauda.io/resolve-names":"*"}}`
	owned        = `"metadata":{"ownerReferences":[{"controller":true}]}`
)

func digest(word string) string {
	return "sha256:" + strings.Repeat(fmt.Sprintf("%x", word), 64)[:64]
}

// known are streams by namespace and name.
type known map[string]*imageapi.ImageStream

func (k known) Get(namespace, name string) (*imageapi.ImageStream, bool) {
	stream, found := k[namespace+"/"+name]
	return stream, found
}

func newStream(name string, local bool) *imageapi.ImageStream {
	s := &imageapi.ImageStream{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: name}}
	s.Spec.LookupPolicy.Local = local
	s.Status.DockerImageRepository = registryHost + "/team/" + name
	s.Spec.Tags = map[string]imageapi.TagReference{
		"imported": {ReferencePolicy: imageapi.TagReferencePolicy{Type: imageapi.SourceTagReferencePolicy}},
		"local":    {ReferencePolicy: imageapi.TagReferencePolicy{Type: imageapi.LocalTagReferencePolicy}},
		"pointer":  {Reference: true},
		"pending":  {},
	}
	event := func(reference, image string) imageapi.TagEventList {
		return imageapi.TagEventList{Items: []imageapi.TagEvent{{DockerImageReference: reference, Image: image}}}
	}
	s.Status.Tags = map[string]imageapi.TagEventList{
		"latest":   event(registryHost+"/team/"+name+"@"+digest("latest"), digest("latest")),
		"v1":       event(registryHost+"/team/"+name+"@"+digest("v1"), digest("v1")),
		"imported": event("example.com/src:imported", digest("imported")),
		"local":    event("example.com/src:local", digest("local")),
		"pointer":  event("example.com/pointer:1", ""),
		"empty":    {},
	}
	return s
}

func streams() known {
	nameless := newStream("nameless", true)
	nameless.Status.DockerImageRepository = ""
	return known{"team/app": newStream("app", true), "team/closed": newStream("closed", false), "team/my.app": newStream("my.app", true), "team/nameless": nameless}
}

// Behaviour 50.
func TestWhatANameStandsFor(t *testing.T) {
	app := registryHost + "/team/app"
	for _, test := range []struct {
		name    string
		image   string
		all     bool
		want    string
		warning bool
	}{
		{name: "without tag", image: "app", want: app + "@" + digest("latest")},
		{name: "with tag", image: "app:v1", want: app + "@" + digest("v1")},
		{name: "dot in the name", image: "my.app:v1", want: registryHost + "/team/my.app@" + digest("v1")},
		{name: "policy Source is pinned", image: "app:imported", want: "example.com/src@" + digest("imported")},
		{name: "policy Local", image: "app:local", want: app + "@" + digest("local")},
		{name: "tag that only points", image: "app:pointer", want: "example.com/pointer:1"},
		{name: "no such tag", image: "app:v9", want: app + ":v9", warning: true},
		{name: "wanted and not yet there", image: "app:pending", want: app + ":pending", warning: true},
		{name: "history without event", image: "app:empty", want: app + ":empty", warning: true},
		{name: "no such tag, registry without name", image: "nameless:v9", want: "nameless:v9"},
		{name: "no such stream", image: "busybox:1"},
		{name: "stream without local policy", image: "closed:v1"},
		{name: "with namespace", image: "team/app:v1"},
		{name: "with registry", image: "example.com/app:v1"},
		{name: "with digest", image: "app@" + digest("x")},
		{name: "empty", image: ""},
		{name: "nonsense", image: "APP:::v1"},
		{name: "annotation, stream without local policy", image: "closed:v1", all: true, want: registryHost + "/team/closed@" + digest("v1")},
		{name: "annotation, with registry", image: "docker.io/library/app:v1", all: true, want: app + "@" + digest("v1")},
		{name: "annotation, with registry, no such tag", image: "docker.io/library/app:v9", all: true},
		{name: "annotation, short, no such tag", image: "closed:v9", all: true, want: registryHost + "/team/closed:v9", warning: true},
		{name: "annotation, with digest", image: "x/app@" + digest("x"), all: true},
		{name: "annotation, no such stream", image: "x/other:v1", all: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.want == "" {
				test.want = test.image
			}
			got, warning := resolveName(streams(), "team", test.image, test.all)
			if got != test.want || (warning != "") != test.warning {
				t.Errorf("%q (warning %q), want %q", got, warning, test.want)
			}
			if got, _ := resolveName(streams(), "other", test.image, test.all); got != test.image {
				t.Errorf("in another namespace: %q", got)
			}
		})
	}
}

// request is what a test asks.
type request struct {
	group, resource, subresource string
	operation                    admissionv1.Operation
	object, old                  string
}

func (r request) body(t testing.TB) []byte {
	t.Helper()
	review := admissionv1.AdmissionReview{TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"}}
	review.Request = &admissionv1.AdmissionRequest{
		UID: "u", Namespace: "team", Operation: r.operation, SubResource: r.subresource,
		Resource: metav1.GroupVersionResource{Group: r.group, Version: "v1", Resource: r.resource},
	}
	review.Request.Object.Raw, review.Request.OldObject.Raw = []byte(r.object), []byte(r.old)
	if r.old == "" {
		review.Request.OldObject.Raw = nil
	}
	body, err := json.Marshal(review)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func newTestHandler(t testing.TB, change func(*Options)) *handler {
	t.Helper()
	options := Options{Streams: streams(), Synced: func() bool { return true }, Enabled: func() bool { return true }}
	if change != nil {
		change(&options)
	}
	if _, err := NewHandler(options); err != nil {
		t.Fatal(err)
	}
	return newHandler(options)
}

// patches asks the handler and returns the patched pointers with their values, sorted.
func patches(t *testing.T, h *handler, r request) []string {
	t.Helper()
	answer, _, failed := h.review(r.body(t))
	if failed != nil {
		t.Fatalf("refused: %v", failed.err)
	}
	if !answer.Response.Allowed || answer.Response.UID != "u" {
		t.Fatalf("answer %+v", answer.Response)
	}
	var operations []operation
	if answer.Response.Patch != nil {
		if err := json.Unmarshal(answer.Response.Patch, &operations); err != nil {
			t.Fatal(err)
		}
	}
	var found []string
	for _, o := range operations {
		found = append(found, o.Op+" "+o.Path+" "+strings.TrimPrefix(o.Value, registryHost+"/team/"))
	}
	slices.Sort(found)
	return found
}

func podOf(meta, containers string) string { return `{` + meta + `,"spec":{` + containers + `}}` }

func templateOf(meta, templateMeta, containers string) string {
	return `{` + meta + `,"spec":{"template":` + podOf(templateMeta, containers) + `}}`
}

func cronJobOf(meta, jobMeta, templateMeta, containers string) string {
	return `{` + meta + `,"spec":{"jobTemplate":` + templateOf(jobMeta, templateMeta, containers) + `}}`
}

// Behaviour 50: each kind, all lists of containers, and the annotation in every place.
func TestEveryKindIsResolved(t *testing.T) {
	h := newTestHandler(t, nil)
	const short = `"containers":[{"name":"a","image":"busybox"},{"name":"b","image":"app:v1"}],"initContainers":[{"name":"i","image":"app"}]`
	const long = `"containers":[{"name":"a","image":"example.com/closed:v1"}]`
	v1, latest := "app@"+digest("v1"), "app@"+digest("latest")
	closed := "closed@" + digest("v1")
	workloads := []struct{ group, resource string }{
		{"", "replicationcontrollers"}, {"apps", "deployments"}, {"apps", "daemonsets"}, {"apps", "statefulsets"}, {"apps", "replicasets"}, {"batch", "jobs"},
	}
	check := func(name string, r request, want ...string) {
		t.Run(name, func(t *testing.T) {
			r.operation = admissionv1.Create
			if got := patches(t, h, r); !slices.Equal(got, want) {
				t.Errorf("patch %q, want %q", got, want)
			}
		})
	}
	check("pods", request{resource: "pods", object: podOf(plain, short)},
		"replace /spec/containers/1/image "+v1, "replace /spec/initContainers/0/image "+latest)
	check("pods with annotation", request{resource: "pods", object: podOf(annotated, long)}, "replace /spec/containers/0/image "+closed)
	check("pods of a controller", request{resource: "pods", object: podOf(owned, short)})
	for _, w := range workloads {
		const at = "/spec/template/spec"
		r := func(object string) request { return request{group: w.group, resource: w.resource, object: object} }
		check(w.resource, r(templateOf(plain, plain, short)), "replace "+at+"/containers/1/image "+v1, "replace "+at+"/initContainers/0/image "+latest)
		check(w.resource+" with annotation", r(templateOf(annotated, plain, long)), "replace "+at+"/containers/0/image "+closed)
		check(w.resource+" with annotated template", r(templateOf(plain, annotated, long)), "replace "+at+"/containers/0/image "+closed)
		check(w.resource+" of a controller", r(templateOf(owned, plain, short)))
	}
	const at = "/spec/jobTemplate/spec/template/spec"
	r := func(object string) request { return request{group: "batch", resource: "cronjobs", object: object} }
	check("cronjobs", r(cronJobOf(plain, plain, plain, short)), "replace "+at+"/containers/1/image "+v1, "replace "+at+"/initContainers/0/image "+latest)
	for i, object := range []string{cronJobOf(annotated, plain, plain, long), cronJobOf(plain, annotated, plain, long), cronJobOf(plain, plain, annotated, long)} {
		check(fmt.Sprintf("cronjobs with annotation %d", i), r(object), "replace "+at+"/containers/0/image "+closed)
	}
	for _, unknown := range []request{
		{group: "example.com", resource: "deployments", object: templateOf(plain, plain, short)},
		{resource: "pods", subresource: "status", object: podOf(plain, short)},
		{resource: "configmaps", object: `"no object at all"`},
		{group: "apps", resource: "pods", object: podOf(plain, short)},
	} {
		check("unknown "+unknown.group+unknown.resource+unknown.subresource, unknown)
	}
}

// Behaviour 50: on updates, what was there stays.
func TestUpdatesTouchOnlyWhatChanged(t *testing.T) {
	h := newTestHandler(t, nil)
	const (
		before  = `"containers":[{"name":"a","image":"app:v1"},{"name":"b","image":"app:v1"}]`
		after   = `"containers":[{"name":"a","image":"app:v1"},{"name":"b","image":"app"}]`
		swapped = `"containers":[{"name":"b","image":"app:v1"},{"name":"a","image":"app:v1"}]`
		added   = `"containers":[{"name":"a","image":"app:v1"},{"name":"b","image":"app:v1"},{"name":"c","image":"app:v1"}]`
		debug   = before + `,"ephemeralContainers":[{"name":"d","image":"app:v1"}]`
	)
	v1, latest := "app@"+digest("v1"), "app@"+digest("latest")
	deployment := func(meta, containers string) string { return templateOf(meta, plain, containers) }
	for _, test := range []struct {
		name string
		request
		want []string
	}{
		{"nothing changed", request{group: "apps", resource: "deployments", old: deployment(plain, before), object: deployment(plain, before)}, nil},
		{"one image changed", request{group: "apps", resource: "deployments", old: deployment(plain, before), object: deployment(plain, after)},
			[]string{"replace /spec/template/spec/containers/1/image " + latest}},
		{"another order", request{group: "apps", resource: "deployments", old: deployment(plain, before), object: deployment(plain, swapped)}, nil},
		{"a new container", request{group: "apps", resource: "deployments", old: deployment(plain, before), object: deployment(plain, added)},
			[]string{"replace /spec/template/spec/containers/2/image " + v1}},
		{"the annotation is new", request{group: "apps", resource: "deployments", old: deployment(plain, before), object: deployment(annotated, before)},
			[]string{"replace /spec/template/spec/containers/0/image " + v1, "replace /spec/template/spec/containers/1/image " + v1}},
		{"the annotation was there", request{group: "apps", resource: "deployments", old: deployment(annotated, before), object: deployment(annotated, before)}, nil},
		{"Job", request{group: "batch", resource: "jobs", old: deployment(plain, before), object: deployment(plain, after)}, nil},
		{"Job with new annotation", request{group: "batch", resource: "jobs", old: deployment(plain, before), object: deployment(annotated, before)}, nil},
		{"ephemeral container", request{resource: "pods", subresource: "ephemeralcontainers", old: podOf(plain, before), object: podOf(plain, debug)},
			[]string{"replace /spec/ephemeralContainers/0/image " + v1}},
		{"ephemeral container of a Pod of a controller", request{resource: "pods", subresource: "ephemeralcontainers", old: podOf(owned, before), object: podOf(owned, debug)}, nil},
		// Kubernetes refuses the whole request when the patch touches what it cannot change.
		{"the annotation is new on a Pod that is debugged", request{resource: "pods", old: podOf(plain, debug), object: podOf(annotated, debug)},
			[]string{"replace /spec/containers/0/image " + v1, "replace /spec/containers/1/image " + v1}},
		{"a second ephemeral container, with the annotation", request{resource: "pods", subresource: "ephemeralcontainers", old: podOf(plain, debug),
			object: podOf(annotated, before+`,"ephemeralContainers":[{"name":"d","image":"app:v1"},{"name":"e","image":"app"}]`)},
			[]string{"replace /spec/ephemeralContainers/1/image " + latest}},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.operation = admissionv1.Update
			if got := patches(t, h, test.request); !slices.Equal(got, test.want) {
				t.Errorf("patch %q, want %q", got, test.want)
			}
		})
	}
	t.Run("deletion", func(t *testing.T) {
		if got := patches(t, h, request{resource: "pods", operation: admissionv1.Delete, object: podOf(plain, before)}); got != nil {
			t.Errorf("patch %q", got)
		}
	})
}

func TestOwnersAreWarnedAboutMissingImages(t *testing.T) {
	answer, result, failed := newTestHandler(t, nil).review(request{
		resource: "pods", operation: admissionv1.Create, object: podOf(plain, `"containers":[{"name":"c","image":"app:v9"}]`),
	}.body(t))
	if failed != nil || result != resultResolved {
		t.Fatal(result, failed)
	}
	if len(answer.Response.Warnings) != 1 || !strings.Contains(answer.Response.Warnings[0], "team/app:v9") {
		t.Errorf("warnings %q", answer.Response.Warnings)
	}
}

func TestSwitchedOffAndNotReady(t *testing.T) {
	body := request{resource: "pods", operation: admissionv1.Create, object: podOf(plain, `"containers":[{"name":"c","image":"app"}]`)}.body(t)
	off := newTestHandler(t, func(o *Options) { o.Enabled = func() bool { return false } })
	answer, result, failed := off.review(body)
	if failed != nil || result != resultDisabled || !answer.Response.Allowed || answer.Response.Patch != nil {
		t.Errorf("switched off: %v, %s, %v", answer, result, failed)
	}
	early := newTestHandler(t, func(o *Options) { o.Synced = func() bool { return false } })
	if _, _, failed := early.review(body); failed == nil || failed.code != http.StatusServiceUnavailable || failed.result != resultNotReady {
		t.Errorf("not ready: %+v", failed)
	}
}

func TestHTTPSurface(t *testing.T) {
	h, err := NewHandler(Options{Streams: streams(), Synced: func() bool { return true }, Enabled: func() bool { return true }})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(h)
	defer server.Close()
	good := request{resource: "pods", operation: admissionv1.Create, object: podOf(plain, `"containers":[{"name":"c","image":"app"}]`)}.body(t)
	for _, test := range []struct {
		name, method, path, contentType string
		body                            []byte
		code                            int
	}{
		{"review", "POST", Path, "application/json", good, 200},
		{"review with charset", "POST", Path, "application/json; charset=utf-8", good, 200},
		{"another method", "GET", Path, "", nil, 405},
		{"another path", "POST", "/", "application/json", good, 404},
		{"metrics", "GET", "/metrics", "", nil, 404},
		{"another type", "POST", Path, "text/plain", good, 415},
		{"no type", "POST", Path, "", good, 415},
		{"empty", "POST", Path, "application/json", nil, 400},
		{"no JSON", "POST", Path, "application/json", []byte("{"), 400},
		{"another kind", "POST", Path, "application/json", []byte(`{"apiVersion":"admission.k8s.io/v1","kind":"Other","request":{}}`), 400},
		{"another version", "POST", Path, "application/json", bytes.Replace(good, []byte("admission.k8s.io/v1"), []byte("admission.k8s.io/v1beta1"), 1), 400},
		{"no request", "POST", Path, "application/json", []byte(`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}`), 400},
		{"object of another form", "POST", Path, "application/json", bytes.Replace(good, []byte(`"containers":[`), []byte(`"containers":5,"x":[`), 1), 400},
		{"deep", "POST", Path, "application/json", bytes.Repeat([]byte("["), 1<<20), 400},
		{"too large", "POST", Path, "application/json", bytes.Repeat([]byte(" "), maxBody+1), 413},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, err := http.NewRequestWithContext(t.Context(), test.method, server.URL+test.path, bytes.NewReader(test.body))
			if err != nil {
				t.Fatal(err)
			}
			if test.contentType != "" {
				r.Header.Set("Content-Type", test.contentType)
			}
			response, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			text, _ := io.ReadAll(response.Body)
			if response.StatusCode != test.code {
				t.Errorf("%d %s, want %d", response.StatusCode, text, test.code)
			}
		})
	}
}

// Whoever sends a lot must not take the memory of the server.
func TestMemoryOfBodiesIsBounded(t *testing.T) {
	m := newMemory(4*firstBuffer, 4*firstBuffer)
	small, release, err := m.read("a", strings.NewReader("{}"), 2)
	if err != nil || string(small) != "{}" {
		t.Fatalf("%q, %v", small, err)
	}
	release()
	// 1, 2 and 4 buffers fit, 8 do not.
	_, release, err = m.read("a", bytes.NewReader(make([]byte, 4*firstBuffer)), -1)
	release()
	if !errors.Is(err, errNoMemory) {
		t.Errorf("a body as large as all memory: %v", err)
	}
	body := bytes.Repeat([]byte("x"), 4*firstBuffer-1)
	data, release, err := m.read("a", bytes.NewReader(body), -1)
	if err != nil || !bytes.Equal(data, body) {
		t.Errorf("%d bytes, %v, want %d", len(data), err, len(body))
	}
	if _, other, err := m.read("a", strings.NewReader("{}"), 2); !errors.Is(err, errNoMemory) {
		other()
		t.Errorf("a small body beside one that takes all: %v", err)
	}
	release()
	if !m.free.TryAcquire(4*firstBuffer) || len(m.taken) != 0 {
		t.Error("memory was not given back")
	}
}

// One Pod that sends a lot, or slowly, must not use up the memory for the API servers.
func TestNoSourceTakesAllMemory(t *testing.T) {
	m := newMemory(4*firstBuffer, 2*firstBuffer)
	body := bytes.Repeat([]byte("x"), 2*firstBuffer-1)
	_, release, err := m.read("a", bytes.NewReader(body), -1)
	defer release()
	if err != nil {
		t.Fatal(err)
	}
	_, other, err := m.read("a", strings.NewReader("{}"), 2)
	if other(); !errors.Is(err, errNoMemory) {
		t.Errorf("beyond its share: %v", err)
	}
	_, other, err = m.read("b", bytes.NewReader(body), -1)
	if other(); err != nil {
		t.Errorf("another address: %v", err)
	}
}

// The port is open to every Pod of the cluster. A few megabytes of text must not become hundreds in memory.
func TestDecodingTakesNoMultipleOfTheBody(t *testing.T) {
	const size = 6 << 20
	fill := func(before, item, after string) []byte {
		return []byte(before + strings.Repeat(item+",", size/(len(item)+1)) + item + after)
	}
	pod := func(spec string) string {
		return string(request{resource: "pods", operation: admissionv1.Create, object: spec}.body(t))
	}
	around := func(text string) (before, after string) {
		before, after, _ = strings.Cut(text, "null")
		return before, after
	}
	containersBefore, containersAfter := around(pod(podOf(plain, `"containers":[null]`)))
	annotationsBefore, annotationsAfter := around(pod(`{"metadata":{"annotations":{"x":null}}}`))
	for name, body := range map[string][]byte{
		"empty containers": fill(containersBefore, "{}", containersAfter),
		"annotations":      fill(annotationsBefore, `"","x":""`, annotationsAfter),
		"groups":           fill(`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u","userInfo":{"groups":[`, `""`, `]}}}`),
		"extra":            fill(`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u","userInfo":{"extra":{`, `"x":[]`, `}}}}`),
	} {
		t.Run(name, func(t *testing.T) {
			h := newTestHandler(t, nil)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, _, failed := h.review(body)
			runtime.ReadMemStats(&after)
			if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 5*size {
				t.Errorf("%d bytes allocated for a body of %d bytes", allocated, len(body))
			}
			if name == "empty containers" && (failed == nil || failed.code != http.StatusBadRequest) {
				t.Errorf("a Pod of millions of containers: %+v", failed)
			}
		})
	}
}

// What is decoded at a time is bounded, and whoever does not wait any longer leaves the queue.
func TestReviewsAreAnsweredInTurn(t *testing.T) {
	h := newTestHandler(t, nil)
	body := request{resource: "pods", operation: admissionv1.Create, object: podOf(plain, `"containers":[{"name":"c","image":"app"}]`)}.body(t)
	for range decoders {
		h.decoding <- struct{}{}
	}
	gone, leave := context.WithCancel(t.Context())
	leave()
	if _, _, failed := h.inTurn(gone, body); failed == nil || failed.result != resultOverloaded {
		t.Errorf("answered out of turn: %+v", failed)
	}
	<-h.decoding
	for range 2 * decoders {
		if _, result, failed := h.inTurn(t.Context(), body); failed != nil || result != resultResolved {
			t.Fatal(result, failed)
		}
	}
}

func TestTheAnnotationIsReadByItsName(t *testing.T) {
	for text, want := range map[string]bool{
		imagev1.ResolveNamesAnnotation: true, imagev1.ResolveNamesAnnotation + "-not": false,
	} {
		read, err := parse(isPod, []byte(`{"metadata":{"annotations":{"`+text+`":"*"}}}`))
		if err != nil || read.resolvesAll() != want {
			t.Errorf("annotation %s: %t, %v", text, read.resolvesAll(), err)
		}
	}
}

func FuzzReview(f *testing.F) {
	f.Add(request{resource: "pods", operation: admissionv1.Create, object: podOf(annotated, `"containers":[{"name":"c","image":"x/app"}]`)}.body(f))
	f.Add(request{group: "batch", resource: "cronjobs", operation: admissionv1.Update, old: cronJobOf(plain, plain, plain, `"containers":[]`),
		object: cronJobOf(plain, plain, plain, `"initContainers":[{"image":"app:v9"}]`)}.body(f))
	f.Add([]byte(`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"object":null}}`))
	h := newTestHandler(f, nil)
	f.Fuzz(func(t *testing.T, body []byte) {
		answer, _, failed := h.review(body)
		if failed == nil && !answer.Response.Allowed {
			t.Errorf("%s is not allowed", body)
		}
	})
}

// BenchmarkReview measures whole requests over HTTP with a Deployment of 20 kB on a cluster of 10,000 streams.
// The budget of the 99th percentile is 10 ms.
func BenchmarkReview(b *testing.B) {
	all := known{}
	for i := range 10000 {
		all[fmt.Sprintf("team/app-%d", i)] = newStream(fmt.Sprintf("app-%d", i), true)
	}
	handler, err := NewHandler(Options{Streams: all, Synced: func() bool { return true }, Enabled: func() bool { return true }})
	if err != nil {
		b.Fatal(err)
	}
	server := httptest.NewServer(handler)
	defer server.Close()
	containers := `"containers":[{"name":"a","image":"app-77:v1","args":["` + strings.Repeat("x", 20<<10) + `"]},{"name":"b","image":"app-78"}]`
	body := request{group: "apps", resource: "deployments", operation: admissionv1.Create, object: templateOf(plain, plain, containers)}.body(b)
	times := make([]time.Duration, 0, b.N)
	b.ResetTimer()
	for range b.N {
		started := time.Now()
		response, err := http.Post(server.URL+Path, "application/json", bytes.NewReader(body))
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, response.Body)
		response.Body.Close()
		if response.StatusCode != http.StatusOK {
			b.Fatal(response.Status)
		}
		times = append(times, time.Since(started))
	}
	slices.Sort(times)
	b.ReportMetric(float64(times[len(times)*99/100].Microseconds())/1000, "p99-ms")
}

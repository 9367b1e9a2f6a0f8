package remote

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"image.alauda.io/registry/pkg/oci/manifest"
	"image.alauda.io/registry/test/secondregistry"

	"github.com/opencontainers/go-digest"
)

func TestEverythingIsReadOverTrustedTLS(t *testing.T) {
	registry := secondregistry.Start(t, secondregistry.Options{TLS: true})
	image := registry.PushImage(t, "team/app", "v1", secondregistry.Image{Docker: true})
	content := []byte("some layer")
	layer := registry.PushBlob(t, "team/app", "application/octet-stream", content)
	r := newClient(t, trusting(t, registry)).repository(t, registry.Host+"/team/app", false, nil)
	ctx := t.Context()

	for _, name := range []string{"v1", image.Digest.String()} {
		m, err := r.Manifest(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		if m.Digest != image.Digest || m.MediaType != manifest.DockerManifest || int64(len(m.Content)) != image.Size ||
			m.Source != registry.Host+"/team/app" {
			t.Errorf("manifest %s is %s %s from %s", name, m.Digest, m.MediaType, m.Source)
		}
		d, err := r.Head(ctx, name)
		if err != nil || d.Digest != image.Digest || d.Size != image.Size || d.MediaType != manifest.DockerManifest {
			t.Errorf("head of %s is %+v, %v", name, d, err)
		}
	}
	if raw, err := r.Blob(ctx, layer.Digest, 0); err != nil || !bytes.Equal(raw, content) {
		t.Errorf("blob is %q, %v", raw, err)
	}
	if size, err := r.StatBlob(ctx, layer.Digest); err != nil || size != layer.Size {
		t.Errorf("size is %d, %v", size, err)
	}
	for byteRange, want := range map[string]string{"": "some layer", "bytes=5-": "layer"} {
		blob, err := r.OpenBlob(ctx, layer.Digest, byteRange)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(blob.Body)
		blob.Body.Close()
		if err != nil || string(raw) != want || blob.Size != layer.Size || (blob.ContentRange != "") != (byteRange != "") {
			t.Errorf("range %q is %q of %d (%s), %v", byteRange, raw, blob.Size, blob.ContentRange, err)
		}
	}
	for _, request := range registry.Requests() {
		if request.Header.Get("User-Agent") != "remote-test/1" || request.Authorization != "" {
			t.Errorf("request %s %s has user agent %q and authorization %q",
				request.Method, request.Path, request.Header.Get("User-Agent"), request.Authorization)
		}
	}
	if n := registry.Count("", "/v2/"); n != 1 {
		t.Errorf("the registry was pinged %d times, want once", n)
	}
}

func TestWhatIsMissingIsNotFound(t *testing.T) {
	registry := secondregistry.Start(t, secondregistry.Options{})
	registry.PushImage(t, "app", "v1", secondregistry.Image{})
	r := newClient(t).repository(t, registry.Host+"/app", true, nil)
	_, err := r.Manifest(t.Context(), "v2")
	wantKind(t, err, NotFound, registry.Host+"/app:v2 not found")
	_, err = r.Head(t.Context(), "v2")
	wantKind(t, err, NotFound)
	_, err = r.Blob(t.Context(), digest.FromString("none"), 0)
	wantKind(t, err, NotFound, "blob sha256:")
	_, err = newClient(t).repository(t, registry.Host+"/other", true, nil).Tags(t.Context(), 0)
	wantKind(t, err, NotFound, registry.Host+"/other not found")
	_, err = r.Manifest(t.Context(), "../../secret")
	wantKind(t, err, Internal)
}

// Behaviour 43.
func TestContentThatIsNotAsAnnouncedIsRefused(t *testing.T) {
	registry := secondregistry.Start(t, secondregistry.Options{})
	image := registry.PushImage(t, "app", "v1", secondregistry.Image{})
	other := digest.FromString("something else")
	document := []byte(`{"schemaVersion":2}`)
	registry.Document("/v2/app/manifests/wrong", manifest.OCIManifest, http.Header{"Docker-Content-Digest": {other.String()}}, document)
	registry.Document("/v2/app/manifests/"+image.Digest.String(), manifest.OCIManifest, nil, document)
	registry.Document("/v2/app/manifests/large", manifest.OCIManifest, nil, bytes.Repeat([]byte(" "), 4<<20+1))
	registry.Document("/v2/app/manifests/limit", "Application/Vnd.Unknown+json; charset=utf-8", nil, bytes.Repeat([]byte(" "), 4<<20))
	registry.Document("/v2/app/blobs/"+other.String(), "application/octet-stream", nil, document)
	registry.Document("/v2/app/blobs/"+image.Digest.String(), "application/octet-stream", nil, bytes.Repeat([]byte(" "), 8<<20+1))
	registry.Answer("", "/v2/app/manifests/endless", func(w http.ResponseWriter, _ *http.Request) {
		for w.(http.Flusher).Flush(); ; {
			if _, err := w.Write(bytes.Repeat([]byte(" "), 1<<20)); err != nil {
				return
			}
		}
	})
	r := newClient(t).repository(t, registry.Host+"/app", true, nil)
	for name, want := range map[string]Kind{
		"wrong": ContentIntegrity, image.Digest.String(): ContentIntegrity, "large": TooLarge, "endless": TooLarge,
	} {
		_, err := r.Manifest(t.Context(), name)
		wantKind(t, err, want, name)
	}
	_, err := r.Blob(t.Context(), other, 0)
	wantKind(t, err, ContentIntegrity, "content integrity")
	_, err = r.Blob(t.Context(), image.Digest, 0)
	wantKind(t, err, TooLarge, "8388608")
	blob, err := r.OpenBlob(t.Context(), other, "")
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.ReadAll(blob.Body)
	blob.Body.Close()
	wantKind(t, err, ContentIntegrity)

	// What is unusual but honest is handed over as it is; what it means is for others to decide.
	m, err := r.Manifest(t.Context(), "limit")
	if err != nil || m.MediaType != "application/vnd.unknown+json" || m.Size != 4<<20 {
		t.Errorf("manifest at the limit is %v, %v", m, err)
	}
}

func TestHeadFallsBackToTheManifest(t *testing.T) {
	registry := secondregistry.Start(t, secondregistry.Options{})
	image := registry.PushImage(t, "app", "v1", secondregistry.Image{})
	r := newClient(t).repository(t, registry.Host+"/app", true, nil)
	for name, answer := range map[string]http.HandlerFunc{
		"without a digest": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) },
		"not supported":    func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusMethodNotAllowed) },
	} {
		registry.Recover()
		registry.Answer(http.MethodHead, "**", answer)
		d, err := r.Head(t.Context(), "v1")
		if err != nil || d.Digest != image.Digest || d.Size != image.Size {
			t.Errorf("%s: head is %+v, %v, want %s", name, d, err, image.Digest)
		}
	}
}

func TestTagsAreReadPageByPage(t *testing.T) {
	registry := secondregistry.Start(t, secondregistry.Options{})
	image := registry.PushImage(t, "app", "latest", secondregistry.Image{})
	for i := range 1100 {
		raw := []byte(fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[],"annotations":{"n":"%d"}}`, manifest.OCIIndex, i%3))
		registry.PushManifest(t, "app", fmt.Sprintf("t%04d", i), manifest.OCIIndex, raw)
	}
	_ = image
	r := newClient(t).repository(t, registry.Host+"/app", true, nil)
	tags, err := r.Tags(t.Context(), 0)
	if err != nil || len(tags) != 1101 || !slices.Contains(tags, "t1099") {
		t.Fatalf("%d tags, %v, want 1101", len(tags), err)
	}
	if n := registry.Count("", "/v2/app/tags/list"); n != 2 {
		t.Errorf("%d pages were read, want 2", n)
	}
	if tags, err = r.Tags(t.Context(), 5); err != nil || len(tags) != 5 {
		t.Errorf("%d tags, %v, want 5", len(tags), err)
	}
}

func TestListsOfTagsAreBounded(t *testing.T) {
	registry := secondregistry.Start(t, secondregistry.Options{})
	page := 0
	registry.Answer("", "/v2/app/tags/list", func(w http.ResponseWriter, _ *http.Request) {
		page++
		w.Header().Set("Link", fmt.Sprintf(`<https://elsewhere.example/v2/app/tags/list?n=1000&last=%d>; rel="next"`, page))
		tags := make([]string, 1000)
		for i := range tags {
			tags[i] = fmt.Sprintf(`"t%d-%d"`, page, i)
		}
		fmt.Fprintf(w, `{"tags":[%s,"no tag!"]}`, strings.Join(tags, ","))
	})
	r := newClient(t).repository(t, registry.Host+"/app", true, nil)
	tags, err := r.Tags(t.Context(), 0)
	if err != nil || len(tags) != 10_000 || page != 10 {
		t.Errorf("%d tags from %d pages, %v, want 10000 from 10 pages of this registry", len(tags), page, err)
	}

	registry.Recover()
	registry.Answer("", "/v2/app/tags/list", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", `</v2/app/tags/list?n=1000>; rel=next`)
		fmt.Fprint(w, `{"tags":["a"]}`)
	})
	if tags, err = r.Tags(t.Context(), 0); err != nil || len(tags) != 1 {
		t.Errorf("a page that is followed by itself gives %v, %v", tags, err)
	}

	registry.Recover()
	registry.Document("/v2/app/tags/list", "application/json", nil, bytes.Repeat([]byte(" "), 4<<20+1))
	_, err = r.Tags(t.Context(), 0)
	wantKind(t, err, TooLarge)
	registry.Recover()
	registry.Document("/v2/app/tags/list", "application/json", nil, []byte("<html>"))
	_, err = r.Tags(t.Context(), 0)
	wantKind(t, err, Internal, "cannot be read")
}

func FuzzNextPage(f *testing.F) {
	f.Add(`</v2/app/tags/list?last=a&n=1>; rel="next"`)
	f.Add(`<a>; rel=prev, <https://x/y?z=1>;rel=next`)
	f.Add(`<%zz>; rel="next"`)
	f.Fuzz(func(t *testing.T, link string) {
		if next := nextPage([]string{link}); next != nil && (len(next) == 0 || !strings.Contains(link, "next")) {
			t.Errorf("%q gives %v", link, next)
		}
	})
}

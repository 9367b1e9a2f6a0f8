package snapshot

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"

	imagev1 "image.alauda.io/api/image/v1"
	imageclient "image.alauda.io/client-go/clientset/versioned"
	imagescheme "image.alauda.io/client-go/clientset/versioned/scheme"
)

// wholeImages is what a client makes of a list that decodes every field.
func wholeImages(body []byte) (images []Image, err error) {
	object, err := runtime.Decode(imagescheme.Codecs.UniversalDeserializer(), body)
	if err != nil {
		return nil, err
	}
	list, ok := object.(*imagev1.ImageList)
	if !ok {
		return nil, fmt.Errorf("a %T", object)
	}
	for i := range list.Items {
		images = append(images, ImageOf(&list.Items[i]))
	}
	return images, nil
}

// shortImages is what a snapshot makes of it.
func shortImages(body []byte) (images []Image, err error) {
	read, err := recordPage(body, func(image Image) { images = append(images, image) })
	if err == nil {
		_, err = read.visit()
	}
	return images, err
}

func imageList(items ...string) []byte {
	return fmt.Appendf(nil, `{"kind":"ImageList","apiVersion":"image.alauda.io/v1","metadata":{"resourceVersion":"7"},"items":[%s]}`, strings.Join(items, ","))
}

var oddImages = []string{
	`{}`,
	`{"metadata":{"name":"` + digestOf("a") + `","uid":"u","resourceVersion":"5","creationTimestamp":"2026-01-02T03:04:05Z","annotations":{"image.alauda.io/managed":"true","image.alauda.io/keep":"true","other":"x"}}}`,
	`{"metadata":{"name":"` + digestOf("b") + `","creationTimestamp":null,"annotations":null},"dockerImageMetadata":null,"dockerImageLayers":null,"dockerImageManifests":null}`,
	`{"metadata":{"name":"` + digestOf("c") + `"},"dockerImageMetadata":{"Id":"sha256:x","Size":5,"Config":{"Labels":{"a":"\"]}"}}},"dockerImageLayers":[{"name":"l","size":3,"mediaType":"m"},{"name":"l","size":3,"mediaType":"m"},{"name":"n","size":4,"mediaType":"m"}]}`,
	`{"metadata":{"name":"` + digestOf("d") + `"},"dockerImageMetadata":{"id":"lower case","SIZE":9}}`,
	`{"metadata":{"name":"` + digestOf("e") + `"},"dockerImageMetadata":{"Size":"a text"}}`,
	`{"metadata":{"name":"` + digestOf("f") + `"},"dockerImageMetadata":"a text"}`,
	`{"metadata":{"name":"` + digestOf("0") + `"},"dockerImageMetadata":[1]}`,
	`{"metadata":{"name":"` + digestOf("1") + `"},"dockerImageLayers":[{"name":"l","size":9223372036854775807},{"name":"m","size":9223372036854775807},{"name":"n","size":-5}]}`,
	`{"metadata":{"name":"` + digestOf("2") + `"},"dockerImageManifests":[{"digest":"` + digestOf("3") + `","os":"linux"},{"digest":""}]}`,
	`{"metadata":{"name":"no digest"},"METADATA":{"name":"x"},"dockerimagelayers":[{"name":"x"}],"unknown":{"deep":[1,2,{"a":null}]}}`,
	`{"metadata":{"name":"` + digestOf("4") + `"},"dockerImageMetadata":{"Id":"x"},"dockerImageMetadata":{"Size":1}}`,
}

// The shorter form changes no decision.
func TestShortFormOfImages(t *testing.T) {
	body := imageList(oddImages...)
	want, err := wholeImages(body)
	if err != nil {
		t.Fatal(err)
	}
	got, err := shortImages(body)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v: got\n%+v\nwant\n%+v", err, got, want)
	}
}

func FuzzShortFormOfImages(f *testing.F) {
	for _, image := range oddImages {
		f.Add([]byte(image))
	}
	f.Fuzz(func(t *testing.T, image []byte) {
		body := imageList(string(image))
		want, wantErr := wholeImages(body)
		got, err := shortImages(body)
		// A field that nobody asks for may hold what it likes.
		if wantErr == nil && (err != nil || !reflect.DeepEqual(got, want)) {
			t.Errorf("%s: %v: got %+v, want %+v", image, err, got, want)
		}
	})
}

// An answer that is no list of images is not one without images.
func TestAnswersThatAreNoListOfImages(t *testing.T) {
	whole := string(imageList(oddImages[1]))
	for _, body := range []string{
		"", "null", "[]", "{}", `"text"`, whole[:len(whole)-1], whole[:len(whole)/2], whole + "x",
		strings.Replace(whole, "ImageList", "ImageStreamList", 1), strings.Replace(whole, "image.alauda.io/v1", "v1", 1),
		`{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure"}`,
		strings.Replace(whole, `"items"`, `"metadata":{"continue":"x"},"items"`, 1),
	} {
		if images, err := shortImages([]byte(body)); err == nil {
			t.Errorf("%s is a list of %d images", body, len(images))
		}
	}
}

// Servers write metadata first, but need not.
func TestMetadataBehindTheItems(t *testing.T) {
	body := `{"apiVersion":"image.alauda.io/v1","items":[` + oddImages[1] + `],"kind":"ImageList","metadata":{"continue":"on","resourceVersion":"7"}}`
	count := 0
	read, err := recordPage([]byte(body), func(Image) { count++ })
	if err != nil || read.Continue != "on" || read.ResourceVersion != "7" {
		t.Fatalf("%+v, %v", read, err)
	}
	if items, err := read.visit(); err != nil || items != 1 || count != 1 {
		t.Errorf("%d items, %d seen, %v", items, count, err)
	}
}

// lister serves images in pages of two and lets the test decide about each answer.
type lister struct {
	mu       sync.Mutex
	requests []string
	// before is called with the number of the request, and answers itself if it returns true.
	before func(w http.ResponseWriter, request int) bool
	images []string
}

func (l *lister) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	begin := 0
	next := request.URL.Query().Get("continue")
	_, _ = fmt.Sscan(next, &begin) // none on the first page
	l.mu.Lock()
	l.requests = append(l.requests, next)
	number := len(l.requests)
	l.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if l.before != nil && l.before(w, number) {
		return
	}
	list := map[string]any{"kind": "ImageList", "apiVersion": "image.alauda.io/v1"}
	end, meta := min(begin+2, len(l.images)), map[string]string{"resourceVersion": "7"}
	if end < len(l.images) {
		meta["continue"] = fmt.Sprint(end)
	}
	var items []any
	for _, name := range l.images[begin:end] {
		items = append(items, map[string]any{"metadata": map[string]string{"name": name}})
	}
	list["metadata"], list["items"] = meta, items
	_ = json.NewEncoder(w).Encode(list) // who left does not read it
}

// read lists all images through a real client.
func (l *lister) read(t *testing.T, http2 bool) (names []string, requests []string, err error) {
	t.Helper()
	server := httptest.NewUnstartedServer(l)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.EnableHTTP2 = http2
	server.StartTLS()
	defer server.Close()
	config := &rest.Config{Host: server.URL, QPS: -1, Timeout: time.Minute}
	config.CAData = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if !http2 {
		config.NextProtos = []string{"http/1.1"}
	}
	config.Wrap(TakeAdvice)
	client, err := imageclient.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	visit := func(image Image) { names = append(names, image.Digest) }
	_, _, err = pager{clock: newWaits(), chunkSize: 2}.whole(t.Context(), "images", records(client.ImageV1().RESTClient(), visit), func() { names = nil })
	l.mu.Lock()
	defer l.mu.Unlock()
	return names, l.requests, err
}

// Behaviour 62: pages of images are read like all others.
func TestPagesOfImages(t *testing.T) {
	names := []string{"a", "b", "c", "d", "e"}
	refuse := func(code int, reason metav1.StatusReason, numbers ...int) func(http.ResponseWriter, int) bool {
		return func(w http.ResponseWriter, number int) bool {
			if !slices.Contains(numbers, number) {
				return false
			}
			w.WriteHeader(code)
			fmt.Fprint(w, refusal(code, reason, "").body)
			return true
		}
	}
	for name, test := range map[string]struct {
		before   func(http.ResponseWriter, int) bool
		requests []string
		fails    string
	}{
		"whole":     {requests: []string{"", "2", "4"}},
		"busy":      {before: refuse(503, metav1.StatusReasonServiceUnavailable, 2, 3), requests: []string{"", "2", "2", "2", "4"}},
		"expired":   {before: refuse(410, metav1.StatusReasonExpired, 3), requests: []string{"", "2", "4", "", "2", "4"}},
		"gone":      {before: refuse(410, metav1.StatusReasonGone, 2), requests: []string{"", "2", "", "2", "4"}},
		"forbidden": {before: refuse(403, metav1.StatusReasonForbidden, 2), requests: []string{"", "2"}, fails: "list images: refused"},
		"cut off": {before: func(w http.ResponseWriter, number int) bool {
			if number == 2 {
				_, _ = w.Write(imageList()[:20])
				_ = http.NewResponseController(w).Flush()
				panic(http.ErrAbortHandler)
			}
			return false
		}, requests: []string{"", "2", "2", "4"}},
	} {
		for _, http2 := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, HTTP/2 %t", name, http2), func(t *testing.T) {
				l := &lister{before: test.before, images: names}
				got, requests, err := l.read(t, http2)
				if !slices.Equal(requests, test.requests) {
					t.Errorf("requests %q, want %q", requests, test.requests)
				}
				switch {
				case test.fails != "":
					if err == nil || !strings.Contains(err.Error(), test.fails) {
						t.Errorf("%v", err)
					}
				case err != nil || !slices.Equal(got, names):
					t.Errorf("read %q, %v", got, err)
				}
			})
		}
	}
}

package streams

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/registry/route"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func metadataOf(namespace, name, uid, version string) *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		Namespace: namespace, Name: name, UID: types.UID(uid), ResourceVersion: version,
	}}
}

// The order is that of the bytes of the whole name, so a namespace may come before its own
// prefix.
func TestNamesAreSortedByBytes(t *testing.T) {
	k := newKnown(time.Now, time.Minute)
	if err := k.Replace([]any{metadataOf("a", "z", "", ""), metadataOf("a-b", "x", "", ""), metadataOf("a", "b.c", "", ""), metadataOf("a0", "x", "", "")}, ""); err != nil {
		t.Fatal(err)
	}
	if err := k.Add(metadataOf("a", "b", "", "")); err != nil {
		t.Fatal(err)
	}
	want := []string{"a-b/x", "a/b", "a/b.c", "a/z", "a0/x"}
	if got := k.After("", 10); !slices.Equal(got, want) {
		t.Errorf("names %v, want %v", got, want)
	}
	for after, want := range map[string]string{
		"": "a-b a", "a-b/x": "a a0", "a/b": "a a0", "a/z": "a0", PastNamespace("a"): "a0", "a0/x": "", "a": "a-b a", "a/nothing": "a a0",
	} {
		if got := strings.Join(k.NamespacesAfter(after, 2), " "); got != want {
			t.Errorf("namespaces after %q: %q, want %q", after, got, want)
		}
	}
}

// Keeping the list current by events gives the same as sorting everything.
func TestNamesFollowEvents(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	k := newKnown(time.Now, time.Minute)
	if err := k.Replace(nil, ""); err != nil {
		t.Fatal(err)
	}
	model := map[string]bool{}
	for i := range 5000 {
		namespace, name := fmt.Sprint("ns", random.IntN(20)), fmt.Sprint("app", random.IntN(50))
		var err error
		if random.IntN(3) == 0 {
			err = k.Delete(metadataOf(namespace, name, "", ""))
			delete(model, namespace+"/"+name)
		} else {
			err = k.Update(metadataOf(namespace, name, "", fmt.Sprint(i)))
			model[namespace+"/"+name] = true
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	want := []string{}
	for name := range model {
		want = append(want, name)
	}
	slices.Sort(want)
	if got := k.After("", 1<<20); !slices.Equal(got, want) || len(k.versions) != len(want) {
		t.Errorf("%d names and %d versions, want %d", len(got), len(k.versions), len(want))
	}
}

// A page that is turned while streams come and go shows everything that was there all the
// time, once.
func TestPagesAreStable(t *testing.T) {
	k := newKnown(time.Now, time.Minute)
	for i := range 200 {
		if err := k.Add(metadataOf("ns", fmt.Sprintf("app%03d", 2*i), "", "")); err != nil {
			t.Fatal(err)
		}
	}
	var seen []string
	for last, turn := "", 0; ; turn++ {
		part := k.After(last, 7)
		if len(part) == 0 {
			break
		}
		seen = append(seen, part...)
		last = part[len(part)-1]
		if err := k.Add(metadataOf("ns", fmt.Sprintf("app%03d", 2*turn+1), "", "")); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 200 {
		name := fmt.Sprintf("ns/app%03d", 2*i)
		if at := slices.Index(seen, name); at < 0 || slices.Contains(seen[at+1:], name) {
			t.Errorf("%s was not seen exactly once", name)
		}
	}
	if !slices.IsSorted(seen) {
		t.Error("the pages are not in order")
	}
}

// A stream that was deleted at once stays in the list for a short time only.
func TestCreatedNameThatTheWatchNeverShows(t *testing.T) {
	now := time.Now()
	k := newKnown(func() time.Time { return now }, time.Minute)
	k.create(route.Name{Namespace: "team", Stream: "early"}) // before the list: it will contain it
	if err := k.Replace(nil, ""); err != nil {
		t.Fatal(err)
	}
	k.create(route.Name{Namespace: "team", Stream: "app"})
	if err := k.Replace([]any{metadataOf("team", "other", "", "")}, ""); err != nil {
		t.Fatal(err)
	}
	if got := k.After("", 9); !slices.Equal(got, []string{"team/app", "team/other"}) {
		t.Errorf("names %v", got)
	}
	now = now.Add(createdAge)
	if got := k.After("", 9); !slices.Equal(got, []string{"team/other"}) {
		t.Errorf("names %v after %s", got, createdAge)
	}
}

// The same version of another stream is another version.
func TestViewOfAnotherStreamOfThatName(t *testing.T) {
	v, err := New(Options{API: noAPI{}, Source: nil})
	if err != nil {
		t.Fatal(err)
	}
	name := route.Name{Namespace: "team", Stream: "app"}
	full := &imagev1.ImageStream{ObjectMeta: metadataOf("team", "app", "old", "7").ObjectMeta}
	v.kept.put(name, newView(full))
	for uid, want := range map[string]bool{"old": true, "new": false} {
		if err := v.known.Replace([]any{metadataOf("team", "app", uid, "7")}, ""); err != nil {
			t.Fatal(err)
		}
		if got := v.usable(name) != nil; got != want {
			t.Errorf("uid %s: the view is used: %t", uid, got)
		}
	}
}

type noAPI struct{ API }

func TestViewKeepsWhatRequestsNeed(t *testing.T) {
	digest := "sha256:" + strings.Repeat("a", 64)
	full := &imagev1.ImageStream{ObjectMeta: metadataOf("team", "app", "u", "1").ObjectMeta}
	full.Annotations = map[string]string{imagev1.InsecureRepositoryAnnotation: "true", "other": "x"}
	full.Spec.Tags = []imagev1.TagReference{{Name: "safe"}, {Name: "open", ImportPolicy: imagev1.TagImportPolicy{Insecure: true}}}
	full.Status.DockerImageRepository = "registry.test:5000/team/app"
	full.Status.Tags = []imagev1.NamedTagEventList{
		{Tag: "v2", Items: []imagev1.TagEvent{{Image: digest, DockerImageReference: "example.test/a/b@" + digest}, {Image: "sha256:old", DockerImageReference: "example.test/a/b:v2"}}},
		{Tag: "failed"},
		{Tag: "v1", Items: []imagev1.TagEvent{{Image: "sha256:old"}}},
	}
	view := newView(full)
	if got := view.Tags(); !slices.Equal(got, []string{"v1", "v2"}) {
		t.Errorf("tags %v", got)
	}
	for tag, want := range map[string]string{"v1": "sha256:old", "v2": digest, "failed": "", "v": "", "v3": ""} {
		if got, found := view.Image(tag); got != want || found != (want != "") {
			t.Errorf("tag %s: %q %t, want %q", tag, got, found, want)
		}
	}
	if !view.Names(digest) || !view.Names("sha256:old") || view.Names("sha256:none") || len(view.images) != 2 {
		t.Errorf("digests %v", view.images)
	}
	slim := view.Stream()
	if len(slim.Annotations) != 1 || len(slim.Spec.Tags) != 1 || slim.Spec.Tags[0].Name != "open" || slim.Status.DockerImageRepository == "" {
		t.Errorf("kept %v, %v", slim.Annotations, slim.Spec.Tags)
	}
	if got := slim.Status.Tags[1].Items[0].DockerImageReference; got != "example.test/a/b@"+digest {
		t.Errorf("reference %q", got)
	}
	if view.bytes < int64(len(digest)) {
		t.Errorf("size %d", view.bytes)
	}
}

// The estimate that bounds the views is near what they take.
func TestSizeOfViews(t *testing.T) {
	if testing.Short() {
		t.Skip("looks at the memory of the process")
	}
	const tags, copies = 2000, 20
	full := &imagev1.ImageStream{ObjectMeta: metadataOf("team", "app", "u", "1").ObjectMeta}
	build := func() *View {
		full.Status.Tags = nil
		for i := range tags {
			digest := fmt.Sprintf("sha256:%064d", i)
			full.Status.Tags = append(full.Status.Tags, imagev1.NamedTagEventList{Tag: fmt.Sprint("v", i), Items: []imagev1.TagEvent{
				{Image: digest, DockerImageReference: "image-registry.image-registry-system.svc:5000/team/app@" + digest},
			}})
		}
		return newView(full)
	}
	heap := func() int64 {
		runtime.GC()
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return int64(stats.HeapAlloc)
	}
	before, estimated, views := heap(), int64(0), make([]*View, copies)
	for i := range views {
		views[i] = build()
		estimated += views[i].bytes
	}
	full.Status.Tags = nil
	taken := heap() - before
	t.Logf("%d bytes estimated, %d taken", estimated, taken)
	if taken > estimated*3/2 || taken < estimated/2 {
		t.Errorf("views take %d bytes, the estimate is %d", taken, estimated)
	}
	runtime.KeepAlive(views)
}

package importer

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	imagev1 "image.alauda.io/api/image/v1"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/oci/remote"
)

const app = "r.example/team/app"

// Behaviour 35.
func TestASingleImageIsDescribedUnderTheNameThatTheUserWrote(t *testing.T) {
	s := newScripted()
	pushed := s.image(app, "v1", "arm64", "one")
	s.image("docker.io/library/busybox", "latest", "amd64", "bb")
	i := engine(t, s)

	r := imported(t, one(t, i, Item{From: app + ":v1"}))
	want := app + "@" + pushed.Digest.String()
	if r.Reference != want || r.Image.DockerImageReference != want || r.Image.Name != pushed.Digest.String() || r.Tag != "v1" || r.RemoteDigest != pushed.Digest.String() {
		t.Errorf("reference %q, image %q at %q, tag %q, remote %q; want %q", r.Reference, r.Image.Name, r.Image.DockerImageReference, r.Tag, r.RemoteDigest, want)
	}
	meta := r.Image.DockerImageMetadata
	if meta.Architecture != "arm64" || meta.Author != "one" || meta.Size <= 1000 || len(r.Image.DockerImageLayers) != 1 {
		t.Errorf("metadata %+v with layers %v", meta, r.Image.DockerImageLayers)
	}
	if r.Image.Annotations[imagev1.DockerImageLayersOrderAnnotation] != "ascending" || r.Image.Annotations[imagev1.ImageConfigDigestAnnotation] != meta.ID {
		t.Errorf("annotations %v, id %s", r.Image.Annotations, meta.ID)
	}
	if r.Image.DockerImageManifest != "" || r.Image.DockerImageConfig != "" {
		t.Error("manifest or config was left on the image without being asked for")
	}

	byDigest := imported(t, one(t, i, Item{From: app + ":ignored@" + pushed.Digest.String()}))
	if byDigest.Tag != "" || byDigest.Reference != want {
		t.Errorf("by digest: tag %q, reference %q", byDigest.Tag, byDigest.Reference)
	}
	short := imported(t, one(t, i, Item{From: "busybox"}))
	if !strings.HasPrefix(short.Reference, "busybox@sha256:") || short.Tag != "latest" {
		t.Errorf("short name: reference %q, tag %q", short.Reference, short.Tag)
	}
}

func TestRawDocumentsAreThereForThoseWhoAskOnly(t *testing.T) {
	s := newScripted()
	s.index(app, "v1", s.image(app, "", "amd64", "a"))
	with, without := Item{From: app + ":v1"}, Item{From: app + ":v1"}
	with.IncludeManifest = true
	result := engine(t, s).Import(t.Context(), Request{Items: []Item{with, without}})
	for at, want := range []bool{true, false} {
		r := imported(t, result.Items[at])
		for _, image := range append(slices.Clone(r.Children), r.Image) {
			if (image.DockerImageManifest != "") != want {
				t.Errorf("item %d, image %s: raw manifest %v, want %v", at, image.Name, !want, want)
			}
		}
		if (r.Children[0].DockerImageConfig != "") != want {
			t.Errorf("item %d: config of the child %v, want %v", at, !want, want)
		}
	}
	if result.Items[0].Image == result.Items[1].Image || result.Items[0].Children[0] == result.Items[1].Children[0] {
		t.Error("two items share an object")
	}
}

func TestEachManifestIsFetchedOncePerRequest(t *testing.T) {
	s := newScripted()
	shared := s.image(app, "", "amd64", "shared")
	s.index(app, "v1", shared, s.image(app, "", "arm64", "other"))
	s.index(app, "v2", shared)
	s.image("docker.io/library/busybox", "latest", "amd64", "bb")
	items := []Item{
		{From: app + ":v1"}, {From: app + ":v1"}, legacy(app + ":v1"), {From: app + ":v2"},
		{From: "busybox"}, {From: "docker.io/library/busybox"}, {From: "index.docker.io/library/busybox:latest"},
	}
	result := engine(t, s).Import(t.Context(), Request{Items: items})
	for _, r := range result.Items {
		imported(t, r)
	}
	slices.Sort(s.asked)
	if unique := slices.Compact(slices.Clone(s.asked)); len(unique) != len(s.asked) {
		t.Errorf("something was asked for twice:\n%s", strings.Join(s.asked, "\n"))
	}
	if a, b := result.Items[0].Image.Name, result.Items[2].Image.Name; a == b {
		t.Error("the import mode did not make a difference")
	}
	if got := result.Items[6].Reference; !strings.HasPrefix(got, "index.docker.io/library/busybox@") {
		t.Errorf("reference %q does not keep the host as written", got)
	}
}

func TestInsecureItemsNeverShareAClient(t *testing.T) {
	s := newScripted()
	s.image(app, "v1", "amd64", "a")
	insecure := Item{From: app + ":v1", Policy: Policy{Insecure: true}}
	engine(t, s).Import(t.Context(), Request{Items: []Item{{From: app + ":v1"}, insecure}})
	flags := map[bool]int{}
	for _, o := range s.opened {
		flags[o.Insecure]++
	}
	if diff := cmp.Diff(map[bool]int{true: 1, false: 1}, flags); diff != "" {
		t.Errorf("clients (-want +got):\n%s", diff)
	}
	s.opened = nil
	engine(t, s).Import(t.Context(), Request{Items: []Item{{From: app + ":v1"}}, StreamInsecure: true})
	if !s.opened[0].Insecure {
		t.Error("the annotation of the stream does not count for items")
	}
}

func TestItemsAreIndependent(t *testing.T) {
	s := newScripted()
	s.image(app, "good", "amd64", "good")
	s.errors["GET "+app+" denied"] = &remote.Error{Kind: remote.Forbidden, Message: "denied"}
	s.errors["open blocked.example/x"] = &remote.Error{Kind: remote.Blocked, Message: "registry blocked.example blocked"}
	s.before = func(_ context.Context, asked string) error {
		if strings.HasSuffix(asked, " panic") {
			panic("hostile content")
		}
		return nil
	}
	items := []Item{
		{From: app + ":denied"}, {From: app + ":good"}, {From: "UPPER/case"}, {From: app + ":panic"},
		{From: "localhost:5000"}, {From: "blocked.example/x"}, {From: app + ":gone"}, {From: ""},
	}
	result := engine(t, s).Import(t.Context(), Request{Items: items})
	reasons := make([]string, len(items))
	for at, r := range result.Items {
		exclusive(t, r)
		if r.Err != nil {
			reasons[at] = string(r.Err.Reason)
		}
	}
	want := []string{"Forbidden", "", "Invalid", "InternalError", "Invalid", "Forbidden", "NotFound", "Invalid"}
	if diff := cmp.Diff(want, reasons); diff != "" {
		t.Errorf("reasons (-want +got):\n%s", diff)
	}
}

// Behaviour 41.
func TestWhatIsNotFinishedInTimeIsTheOnlyThingThatIsMissing(t *testing.T) {
	s := newScripted()
	var items []Item
	for _, tag := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		s.image(app, tag, "amd64", tag)
		items = append(items, Item{From: app + ":" + tag})
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var answered sync.WaitGroup
	answered.Add(3)
	s.before = func(ctx context.Context, asked string) error {
		switch {
		case strings.HasSuffix(asked, " a"), strings.HasSuffix(asked, " b"), strings.HasSuffix(asked, " c"):
			answered.Done()
			return nil
		case strings.HasPrefix(asked, "BLOB"):
			return nil
		}
		<-ctx.Done()
		return &remote.Error{Kind: remote.Timeout, Message: "timed out"}
	}
	ended := make(chan Result)
	i := engine(t, s)
	go func() { ended <- i.Import(ctx, Request{Items: items}) }()
	answered.Wait()
	waitFor(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		blobs := 0
		for _, asked := range s.asked {
			if strings.HasPrefix(asked, "BLOB") {
				blobs++
			}
		}
		return blobs == 3 && len(s.asked) == 3+3+5
	})
	cancel()
	for at, r := range (<-ended).Items {
		if at < 3 {
			imported(t, r)
			continue
		}
		failed(t, r, "Timeout", "within the time of the request")
		if !r.Unfinished || !r.Err.Transient || r.Err.Status().Code != 504 {
			t.Errorf("item %d: unfinished %v, error %+v", at, r.Unfinished, r.Err)
		}
	}
}

func TestTheTimeOfOneItemIsNotTheTimeOfTheRequest(t *testing.T) {
	s := newScripted()
	s.image(app, "good", "amd64", "good")
	s.before = func(ctx context.Context, asked string) error {
		if strings.HasSuffix(asked, " slow") {
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	}
	result := engine(t, s).Import(t.Context(), Request{Items: []Item{{From: app + ":slow"}, {From: app + ":good"}}, ItemTimeout: time.Second})
	failed(t, result.Items[0], "Timeout", "did not answer within 1s")
	if result.Items[0].Unfinished {
		t.Error("the time of an item is an answer")
	}
	imported(t, result.Items[1])
}

func TestARegistryThatHangsLeavesTimeForOthers(t *testing.T) {
	s := newScripted()
	s.image("good.example/x", "v1", "amd64", "good")
	good := make(chan struct{})
	s.before = func(ctx context.Context, asked string) error {
		switch {
		case strings.HasPrefix(asked, "GET bad.example"):
			select {
			case <-good:
			case <-ctx.Done():
			}
		case strings.HasPrefix(asked, "BLOB"):
			close(good)
		}
		return nil
	}
	var items []Item
	for _, tag := range strings.Split("abcdefghij", "") {
		items = append(items, Item{From: "bad.example/x:" + tag})
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	result := engine(t, s).Import(ctx, Request{Items: append(items, Item{From: "good.example/x:v1"})})
	imported(t, result.Items[len(items)])
	if ctx.Err() != nil {
		t.Error("the good registry was asked only when time had run out")
	}
}

func TestARequestNeverAsksMoreThanItsShareAtATime(t *testing.T) {
	s := newScripted()
	var children []int
	var mu sync.Mutex
	inside, most := 0, 0
	var items []Item
	for _, tag := range strings.Split("abcdefghijklmnop", "") {
		s.index(app, tag, s.image(app, "", "amd64", tag+"1"), s.image(app, "", "arm64", tag+"2"), s.image(app, "", "s390x", tag+"3"))
		items = append(items, Item{From: app + ":" + tag})
	}
	s.before = func(context.Context, string) error {
		mu.Lock()
		inside++
		most = max(most, inside)
		children = append(children, inside)
		mu.Unlock()
		time.Sleep(100 * time.Microsecond) // long enough for others to come in if they may
		mu.Lock()
		inside--
		mu.Unlock()
		return nil
	}
	for _, r := range engine(t, s).Import(t.Context(), Request{Items: items}).Items {
		imported(t, r)
	}
	if most > 5 {
		t.Errorf("%d requests at a time, want at most 5", most)
	}
}

// Behaviour 47.
func TestAnUnchangedTagIsNotFetched(t *testing.T) {
	s := newScripted()
	image := s.image(app, "v1", "amd64", "a")
	arm := s.image(app, "", "arm64", "b")
	index := s.index(app, "multi", image, arm)
	i := engine(t, s)
	item := func(from, last string, mode imageapi.ImportModeType) Item {
		return Item{From: from, LastDigest: last, Policy: Policy{ImportMode: mode}}
	}
	preserve, oneChild := imageapi.ImportModePreserveOriginal, imageapi.ImportModeLegacy
	for _, test := range []struct {
		name      string
		item      Item
		unchanged bool
	}{
		{"same image", item(app+":v1", image.Digest.String(), preserve), true},
		{"same index", item(app+":multi", index.Digest.String(), preserve), true},
		{"other image", item(app+":v1", arm.Digest.String(), preserve), false},
		{"child of an index nobody remembers", item(app+":multi", image.Digest.String(), oneChild), false},
		{"child of an index that was seen before", item(app+":multi", image.Digest.String(), oneChild), true},
		{"another child of it", item(app+":multi", arm.Digest.String(), oneChild), false},
	} {
		s.asked = nil
		r := one(t, i, test.item)
		if r.Err != nil || r.Unchanged != test.unchanged {
			t.Errorf("%s: unchanged %v, error %v; want %v", test.name, r.Unchanged, r.Err, test.unchanged)
		}
		if test.unchanged && len(s.asked) != 1 {
			t.Errorf("%s: asked %v", test.name, s.asked)
		}
	}
}

func TestARegistryWithoutHeadIsAskedForTheManifest(t *testing.T) {
	s := newScripted()
	image := s.image(app, "v1", "amd64", "a")
	s.errors["HEAD "+app+" v1"] = &remote.Error{Kind: remote.Internal, Message: "405"}
	if r := one(t, engine(t, s), Item{From: app + ":v1", LastDigest: image.Digest.String()}); r.Image == nil {
		t.Errorf("result %+v", r)
	}
	s.errors["HEAD "+app+" v1"] = &remote.Error{Kind: remote.TooManyRequests, RetryAfter: 90 * time.Second, Message: "pause"}
	s.asked = nil
	r := one(t, engine(t, s), Item{From: app + ":v1", LastDigest: image.Digest.String()})
	failed(t, r, "TooManyRequests", "pause")
	if len(s.asked) != 1 || r.Err.Status().Details.RetryAfterSeconds != 90 {
		t.Errorf("asked %v, status %+v", s.asked, r.Err.Status())
	}
}

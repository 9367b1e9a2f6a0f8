package gc

import (
	"context"
	"strings"
	"testing"
	"time"

	"image.alauda.io/registry/pkg/registry/store"

	"github.com/opencontainers/go-digest"
)

// lonely stores an image that is in use, and one that nothing names, all of it old.
func lonely(w *world) (raw string) {
	w.Helper()
	kept, _ := w.image(app, "kept", nil)
	w.record(kept)
	w.stream(app, w.put(app, kept))
	raw, _ = w.image(app, "lonely", nil)
	w.put(app, raw)
	w.age()
	return raw
}

// Behaviour 85: a link that is written again after it was planned to go stays, with all that
// its manifest names.
func TestALinkThatIsWrittenAgainStays(t *testing.T) {
	w := newWorld(t)
	manifest := digest.FromString(lonely(w))
	written := false
	w.driver.onPut = func(path string) {
		if strings.Contains(path, "/_gc/unlinking/") && !written {
			written = true
			w.must(w.store.PutLink(t.Context(), app, store.Revisions, manifest, manifest))
		}
	}
	report := w.mustCollect()
	if !written || !w.linked(app, store.Revisions, manifest) || report.Links != 4 || report.DeletedLinks != 3 || report.DeletedBlobs != 0 {
		t.Errorf("written again: %t, %+v", written, report)
	}
	for _, d := range []digest.Digest{manifest, digest.FromString("lonely 1"), digest.FromString(`{"os":"lonely"}`)} {
		if !w.stored(d) {
			t.Errorf("%s is gone", d)
		}
	}
}

// A storage whose clock is hours behind makes everything look old. Nothing young goes.
func TestAStorageWithALateClockLosesNothing(t *testing.T) {
	w := newWorld(t)
	kept, _ := w.image(app, "kept", nil)
	w.record(kept)
	w.stream(app, w.put(app, kept))
	fresh, _ := w.image(app, "pushed a moment ago", nil)
	w.put(app, fresh)
	w.driver.behind = 100 * time.Hour
	report := w.mustCollect()
	if report.Links == 0 || report.DeletedLinks+report.DeletedBlobs+report.DeletedRepositories != 0 {
		t.Errorf("%+v", report)
	}
}

// The config of an Image that does not name it is in its stored manifest.
func TestAnImageWithoutTheNameOfItsConfig(t *testing.T) {
	w := newWorld(t)
	raw, _ := w.image(app, "incomplete", nil)
	w.record(raw).DockerImageMetadata.Raw = nil
	w.bytes(raw)
	w.bytes("garbage")
	w.age()
	if report := w.mustCollect(); report.DeletedBlobs != 1 || !w.stored(digest.FromString(`{"os":"incomplete"}`)) {
		t.Errorf("%+v", report)
	}
}

// A walk can miss what is stored. The link of a layer that is needed stays all the same.
func TestALayerThatTheWalkHasMissed(t *testing.T) {
	w := newWorld(t)
	raw, _ := w.image(app, "missed", nil)
	w.record(raw)
	w.stream(app, w.put(app, raw))
	w.age()
	layer := digest.FromString("missed 1")
	w.driver.hidden = layer.Encoded()
	if report := w.mustCollect(); report.Links != 0 || !w.linked(app, store.Layers, layer) {
		t.Errorf("%+v", report)
	}
}

// A storage that has lost its blobs, or never had any, keeps its links while there is no
// Image; an empty one is collected.
func TestEmptyMetadataAndNoBlobs(t *testing.T) {
	w := newWorld(t)
	w.mustCollect()
	d := digest.FromString("no data")
	w.must(w.store.PutLink(t.Context(), app, store.Layers, d, d))
	w.age()
	for _, stream := range []bool{false, true} {
		if stream {
			w.stream(app)
		}
		if report, err := w.collect(); err == nil || report.Phase != PhaseMetadata || !w.linked(app, store.Layers, d) {
			t.Errorf("with stream: %t: %v, %+v", stream, err, report)
		}
	}
}

// What a manifest is about is in use with it, also when only the storage knows of both.
func TestTheSubjectOfAReferrerStays(t *testing.T) {
	w := newWorld(t)
	kept, _ := w.image(app, "kept", nil)
	w.record(kept)
	raw, subject := w.image(app, "subject", nil)
	w.put(app, raw)
	referrer, _ := w.image(app, "referrer", &subject)
	w.stream(app, w.put(app, kept), w.put(app, referrer))
	w.age()
	if report := w.mustCollect(); report.CandidateCount != 0 || report.Links != 0 || !w.linked(app, store.Revisions, subject.Digest) {
		t.Errorf("%+v, %v", report, w.findings)
	}
}

// The second list is made long after the last link was removed: an import that read a
// manifest through such a link has stored its Image by then. Without links nobody waits.
func TestTheSecondListWaits(t *testing.T) {
	w := newWorld(t)
	lonely(w)
	var waited []time.Duration
	w.options.VerifyDelay = 2 * time.Minute
	w.options.Wait = func(_ context.Context, delay time.Duration) error {
		waited = append(waited, delay)
		if w.linked(app, store.Layers, digest.FromString("lonely 1")) || !w.stored(digest.FromString("lonely 1")) {
			t.Error("waited before the links were removed or after the blobs were")
		}
		return nil
	}
	w.mustCollect()
	w.bytes("garbage")
	w.age()
	if report := w.mustCollect(); report.DeletedBlobs != 1 || len(waited) != 1 || waited[0] != 2*time.Minute {
		t.Errorf("waited %v, %+v", waited, report)
	}
}

package gc

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"image.alauda.io/registry/pkg/registry/route"
	"image.alauda.io/registry/pkg/registry/store"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// furnish stores one of everything that must stay, and one of everything that must go. It
// returns the digests of both.
func furnish(w *world) (stay, unused []digest.Digest) {
	use := func(raw string) {
		stay = append(stay, digest.FromString(raw))
		named := parse([]byte(raw))
		for _, blob := range named.blobs {
			stay = append(stay, digest.Digest(blob))
		}
	}
	tagged := func(raw string) digest.Digest {
		use(raw)
		w.record(raw)
		return w.put(app, raw)
	}
	plain, plainDescriptor := w.image(app, "plain", nil)
	nestedChild, nestedChildDescriptor := w.image(app, "nested child", nil)
	child, childDescriptor := w.image(app, "child", nil)
	inner, innerDescriptor := w.index(nestedChildDescriptor)
	missing := v1.Descriptor{MediaType: v1.MediaTypeImageManifest, Digest: digest.FromString("nowhere"), Size: 7}
	outer, _ := w.index(childDescriptor, innerDescriptor, missing)
	images := []digest.Digest{tagged(plain), tagged(outer)}
	tagged(inner)
	tagged(child)
	tagged(nestedChild)

	// Only the index is known to the API, its children were pruned.
	orphan, orphanDescriptor := w.image(app, "child without Image", nil)
	wrapped, wrappedDescriptor := w.index(orphanDescriptor)
	top, _ := w.index(wrappedDescriptor)
	images = append(images, tagged(top))
	for _, raw := range []string{orphan, wrapped} {
		use(raw)
		w.put(app, raw)
	}

	// A referrer with an Image, one that nobody but its link knows, and one of that one.
	referrer, referrerDescriptor := w.image(app, "referrer", &plainDescriptor)
	second, _ := w.image(app, "referrer of the referrer", &referrerDescriptor)
	tagged(referrer)
	use(second)
	w.put(app, second)

	byDigest, _ := w.image(app, "pushed by digest", nil)
	tagged(byDigest)
	lost, _ := w.image(app, "in a stream, without Image", nil)
	use(lost)
	images = append(images, w.put(app, lost))
	w.stream(app, images...)

	// A tag that was copied here has neither links nor bytes of its own.
	copied := route.Name{Namespace: "other", Stream: "copy"}
	w.stream(copied, digest.FromString(plain))

	subjectless, subject := w.image(app, "subject that was pruned", nil)
	use(subjectless)
	w.bytes(subjectless)
	attached, _ := w.image(app, "attached to it", &subject)
	tagged(attached)
	for _, content := range []string{"", "{}"} {
		stay = append(stay, w.bytes(content).Digest)
	}

	gone, _ := w.image(app, "unused", nil)
	unlinked := w.bytes("of no repository").Digest
	unused = append(unused, w.put(app, gone), unlinked)
	for _, blob := range parse([]byte(gone)).blobs {
		unused = append(unused, digest.Digest(blob))
	}
	return stay, unused
}

// Behaviour 82: index children, nested children, configs, layers, referrers and images that
// were only pushed by digest stay, with and without Images of their own.
func TestWhatIsInUseStays(t *testing.T) {
	w := newWorld(t)
	stay, gone := furnish(w)
	w.age()
	report := w.mustCollect()
	for _, d := range stay {
		if !w.stored(d) {
			t.Errorf("%s is gone", d)
		}
	}
	for _, d := range gone {
		if w.stored(d) {
			t.Errorf("%s is still there", d)
		}
	}
	if report.DeletedBlobs != int64(len(gone)) || report.CandidateCount != int64(len(gone)) || report.DeletedLinks != 4 || report.Links != 4 {
		t.Errorf("%+v", report)
	}
	for _, entry := range []string{"plain", "child without Image", "referrer of the referrer", "in a stream, without Image"} {
		if layer := digest.FromString(entry + " 1"); !w.linked(app, store.Layers, layer) {
			t.Errorf("the link of a layer of %q is gone", entry)
		}
	}
	if d := digest.FromString("unused 1"); w.linked(app, store.Layers, d) {
		t.Error("the link of an unused layer stayed")
	}
	if again := w.mustCollect(); again.DeletedLinks != 0 || again.CandidateCount != 0 {
		t.Errorf("the second collection found more: %+v", again)
	}
}

// Behaviour 81: a dry run finds the same and changes no file.
func TestADryRunChangesNothing(t *testing.T) {
	w := newWorld(t)
	_, gone := furnish(w)
	w.age()
	w.options.DryRun = true
	before := w.files()
	report := w.mustCollect()
	if !maps.Equal(before, w.files()) {
		t.Error("files have changed")
	}
	if report.CandidateCount != int64(len(gone)) || report.Links != 4 || report.DeletedBlobs+report.DeletedLinks+report.FreedBytes != 0 {
		t.Errorf("%+v", report)
	}
	planned := w.findings
	w.options.DryRun = false
	w.options.Workers = 1
	w.mustCollect()
	if strings.Join(planned, "\n") != strings.Join(w.findings, "\n") {
		t.Errorf("planned\n%s\nremoved\n%s", strings.Join(planned, "\n"), strings.Join(w.findings, "\n"))
	}
}

// Behaviour 83: young content and what young links name stays.
func TestYoungContentStays(t *testing.T) {
	w := newWorld(t)
	kept, _ := w.image(app, "kept", nil)
	w.record(kept)
	w.stream(app, w.put(app, kept))
	blob := w.bytes("a layer whose manifest is under way")
	// The bytes are old, but somebody linked them a moment ago.
	linked, _ := w.image(app, "linked a moment ago", nil)
	manifest := w.bytes(linked).Digest
	touched := w.bytes("touched a moment ago").Digest
	relied := w.bytes("relied upon").Digest
	w.age()
	w.must(w.store.PutLink(t.Context(), app, store.Revisions, manifest, manifest))
	w.must(w.store.PutLink(t.Context(), app, store.Layers, relied, relied))
	if _, err := w.store.Rely(t.Context(), touched); err != nil {
		t.Fatal(err)
	}
	w.ageBelow(storageRoot+"/blobs/sha256/"+blob.Digest.Encoded()[:2]+"/"+blob.Digest.Encoded(), 23*time.Hour)
	report := w.mustCollect()
	for _, d := range []digest.Digest{blob.Digest, manifest, touched, relied, digest.FromString("linked a moment ago 1")} {
		if !w.stored(d) {
			t.Errorf("%s is gone", d)
		}
	}
	if report.CandidateCount != 0 || report.Links != 0 {
		t.Errorf("%+v, %v", report, w.findings)
	}
}

// Behaviour 83: repositories of gone streams and with odd names go after their grace
// period, with everything but what is below them.
func TestRepositories(t *testing.T) {
	w := newWorld(t)
	kept, _ := w.image(app, "kept", nil)
	w.record(kept)
	w.stream(app, w.put(app, kept))
	gone := route.Name{Namespace: "team", Stream: "gone"}
	young := route.Name{Namespace: "new", Stream: "young"}
	uploading := route.Name{Namespace: "new", Stream: "uploading"}
	for _, name := range []route.Name{gone, young, uploading} {
		raw, _ := w.image(name, "of "+name.Stream, nil)
		w.put(name, raw)
	}
	layer := digest.FromString("stock")
	for _, odd := range []string{"team", "a", "a/b/c", "a/b"} {
		path := "/" + storageRoot + "/repositories/" + odd + "/_layers/sha256/" + layer.Encoded() + "/link"
		w.must(w.driver.PutContent(t.Context(), path, []byte(layer)))
	}
	dangling := digest.FromString("no data")
	w.must(w.store.PutLink(t.Context(), app, store.Layers, dangling, dangling))
	w.age()
	w.ageBelow(storageRoot+"/repositories/new/young", 71*time.Hour)
	upload, err := w.store.NewUpload(t.Context(), uploading)
	w.must(err)
	defer upload.Close() //nolint:errcheck // of a test
	w.options.RepoGrace = 72 * time.Hour
	report := w.mustCollect()
	if got, want := strings.Join(report.RepositoryNames, " "), "a a/b a/b/c team team/gone"; got != want || report.DeletedRepositories != 5 || report.TotalRepositories != 8 {
		t.Errorf("removed %s, want %s: %+v", got, want, report)
	}
	left, err := w.store.Repositories(t.Context())
	w.must(err)
	if got := fmt.Sprint(left); got != "[new/uploading new/young team/app]" {
		t.Errorf("left %s", got)
	}
	if w.linked(app, store.Layers, dangling) {
		t.Error("a dangling link stayed")
	}
	if !w.linked(app, store.Revisions, digest.FromString(kept)) || !w.stored(digest.FromString(kept)) {
		t.Error("the repository below a removed one has lost its content")
	}
}

// Behaviour 82: an alias of another algorithm shares the fate of what it names.
func TestAliases(t *testing.T) {
	w := newWorld(t)
	kept, _ := w.image(app, "kept", nil)
	unused, _ := w.image(app, "unused", nil)
	w.record(kept)
	w.stream(app, w.put(app, kept))
	w.put(app, unused)
	for _, raw := range []string{kept, unused} {
		w.must(w.store.PutLink(t.Context(), app, store.Revisions, digest.SHA512.FromString(raw), digest.FromString(raw)))
	}
	// The manifest names a layer by sha512; only the link in the repository knows the bytes.
	layer := w.bytes("named by sha512")
	alias := digest.SHA512.FromString("named by sha512")
	w.must(w.store.PutLink(t.Context(), app, store.Layers, alias, layer.Digest))
	raw, _ := document(w, v1.MediaTypeImageManifest, map[string]any{
		"config": v1.Descriptor{MediaType: v1.MediaTypeImageConfig, Digest: w.bytes("{}").Digest, Size: 2},
		"layers": []v1.Descriptor{{MediaType: v1.MediaTypeImageLayer, Digest: alias, Size: layer.Size}},
	})
	w.stream(app, digest.FromString(kept), w.put(app, raw))
	w.age()
	w.mustCollect()
	if !w.linked(app, store.Revisions, digest.SHA512.FromString(kept)) || w.linked(app, store.Revisions, digest.SHA512.FromString(unused)) {
		t.Error("the alias of the kept manifest is gone, or that of the unused one is there")
	}
	if !w.stored(layer.Digest) || !w.linked(app, store.Layers, alias) {
		t.Error("a layer that is named by sha512 is gone")
	}
}

// Behaviour 82: what was imported and partly fetched keeps what its Image names.
func TestImportedImagesKeepWhatWasFetched(t *testing.T) {
	w := newWorld(t)
	raw, own := w.image(app, "imported", nil)
	w.record(raw) // the manifest itself was never kept
	w.stream(app, own.Digest)
	w.age()
	report := w.mustCollect()
	if report.CandidateCount != 0 || report.Links != 0 || !w.stored(digest.FromString("imported 2")) {
		t.Errorf("%+v, %v", report, w.findings)
	}
}

// Behaviour 86: an Image that is made between the two lists keeps its blobs.
func TestTheSecondListSavesWhatCameBetween(t *testing.T) {
	for name, prepare := range map[string]func(w *world, raw string){
		"an Image": func(w *world, raw string) { w.record(raw) },
		"a tag":    func(w *world, raw string) { w.stream(app, digest.FromString(raw)) },
		"an index of it": func(w *world, raw string) {
			index, _ := w.index(v1.Descriptor{MediaType: v1.MediaTypeImageManifest, Digest: digest.FromString(raw), Size: int64(len(raw))})
			w.record(index)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			kept, _ := w.image(app, "kept", nil)
			w.record(kept)
			w.stream(app, w.put(app, kept))
			raw, _ := w.image(app, "late", nil)
			w.put(app, raw)
			w.bytes("garbage")
			w.age()
			lists := 0
			w.api.Fail(func(call string) error {
				if call == "RegistryConfig" {
					if lists++; lists == 2 {
						prepare(w, raw) // the API is not locked while it asks
					}
				}
				return nil
			})
			report := w.mustCollect()
			if lists != 2 || report.CandidateCount != 5 || report.DeletedBlobs != 1 {
				t.Errorf("%d lists, %+v", lists, report)
			}
			for _, d := range []digest.Digest{digest.FromString(raw), digest.FromString("late 1")} {
				if !w.stored(d) {
					t.Errorf("%s is gone", d)
				}
			}
		})
	}
}

// Deletions that fail are told and stop nothing else.
func TestFailedDeletionsAreRecorded(t *testing.T) {
	w := newWorld(t)
	kept, _ := w.image(app, "kept", nil)
	w.record(kept)
	w.stream(app, w.put(app, kept))
	w.bytes("first")
	stuck := w.bytes("second").Digest
	w.bytes("third")
	w.age()
	w.driver.cannot = func(path string) bool {
		return strings.Contains(path, "/blobs/") && strings.HasSuffix(path, stuck.Encoded())
	}
	report, err := w.collect()
	if err != nil || report.State != StateSucceeded || report.DeletedBlobs != 2 || len(report.Errors) != 1 || !strings.Contains(report.Errors[0], stuck.String()) {
		t.Errorf("%+v, %v", report, err)
	}
}

// A run whose context ends before a removal makes no other.
func TestTheFindingThatEndsTheContextStays(t *testing.T) {
	w := newWorld(t)
	_, gone := furnish(w)
	w.age()
	ctx, cancel := context.WithCancel(t.Context())
	w.options.OnFinding = func(Finding) { cancel() }
	collector := &Collector{Store: w.store, Metadata: w.api}
	before := len(w.files())
	report, err := collector.Run(ctx, w.options, nil)
	if !errors.Is(err, ctx.Err()) || report.State != StateFailed || len(w.files()) != before {
		t.Errorf("%v, %+v; %d files before, %d after", err, report, before, len(w.files()))
	}
	for _, d := range gone {
		if !w.stored(d) {
			t.Errorf("%s is gone", d)
		}
	}
}

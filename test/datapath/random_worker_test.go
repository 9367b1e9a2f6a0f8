//go:build component

package datapath

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
)

const (
	tags = 4
	// pushAttempts bounds how often a client begins a push again because a blob that it was
	// told about is gone by the time of the manifest.
	pushAttempts = 6
)

// worker pushes to and deletes from a repository of its own, so that it knows at each moment
// what must be there. Contents are shared with all others.
type worker struct {
	*caller
	world      *world
	repository string
	serial     uint64

	// What follows is guarded by the world. history has what each tag names and named since
	// it was deleted last.
	history map[string][]*artifact
	// loose were pushed by digest alone.
	loose map[string]*artifact
	// referrers of each subject.
	referrers map[string]map[string]*artifact
	// linked were pushed here once, gone were deleted since: an index that no tag leads to
	// does not keep its parts from being deleted.
	linked, gone map[string]bool
}

func (w *worker) path(kind, reference string) string {
	return "/v2/" + w.repository + "/" + kind + "/" + reference
}

// expect reports an answer that nothing explains.
func (w *worker) expect(got answer, what string, statuses ...int) bool {
	if slices.Contains(statuses, got.status) {
		return true
	}
	w.world.t.Errorf("%s: %s: %s, want one of %v", w.repository, what, got, statuses)
	return false
}

// held is what the repository has to serve. The caller holds the world.
func (w *worker) held() map[string]*artifact {
	held := map[string]*artifact{}
	var keep func(a *artifact)
	keep = func(a *artifact) {
		if held[a.digest] != nil || w.gone[a.digest] {
			return
		}
		held[a.digest] = a
		for _, child := range a.children {
			keep(child)
		}
		for _, referrer := range w.referrers[a.digest] {
			keep(referrer)
		}
	}
	for _, list := range w.history {
		for _, a := range list {
			keep(a)
		}
	}
	for _, a := range w.loose {
		keep(a)
	}
	return held
}

// promises tells why an artifact must be there.
func (w *worker) promises(a *artifact) (list []string) {
	w.world.mu.Lock()
	defer w.world.mu.Unlock()
	for tag, history := range w.history {
		for i, other := range history {
			if other.digest == a.digest {
				list = append(list, fmt.Sprintf("revision %d of %d of tag %s", i+1, len(history), tag))
			}
		}
	}
	if w.loose[a.digest] != nil {
		list = append(list, "pushed by digest")
	}
	if a.subject != nil && w.referrers[a.subject.digest][a.digest] != nil {
		list = append(list, "referrer of "+a.subject.digest)
	}
	for _, other := range w.held() {
		for _, child := range other.children {
			if child.digest == a.digest {
				list = append(list, "part of "+other.digest)
			}
		}
	}
	return list
}

// any picks something that must be there.
func (w *worker) any() *artifact {
	w.world.mu.Lock()
	defer w.world.mu.Unlock()
	held := w.held()
	if len(held) == 0 {
		return nil
	}
	return held[slices.Sorted(maps.Keys(held))[w.random.IntN(len(held))]]
}

func (w *worker) note(change func()) {
	w.world.mu.Lock()
	defer w.world.mu.Unlock()
	change()
}

// image makes a new image of common layers and layers of its own.
func (w *worker) image(subject *artifact) *artifact {
	w.serial++
	config := fmt.Appendf(nil, `{"architecture":"amd64","os":"linux","author":"%s %d %d","rootfs":{"type":"layers","diff_ids":[]}}`, w.repository, w.world.seed, w.serial)
	layers := [][]byte{content(w.world.seed, digestNumber(w.repository, w.serial), 1+w.random.IntN(40_000))}
	for _, i := range w.random.Perm(commonLayers)[:w.random.IntN(3)] {
		layers = append(layers, w.world.common[i])
	}
	return newArtifact(config, layers, subject)
}

func digestNumber(text string, serial uint64) (number uint64) {
	for _, c := range []byte(digestOf(fmt.Appendf(nil, "%s %d", text, serial)))[7:23] {
		number = number<<4 | uint64(strings.IndexByte("0123456789abcdef", c))
	}
	return number
}

// put pushes an artifact with all its parts and returns whether it was accepted.
func (w *worker) put(ctx context.Context, a *artifact, reference string) bool {
	if reference == "" {
		reference = a.digest
	}
	for range pushAttempts {
		complete := true
		for _, child := range a.children {
			complete = complete && w.put(ctx, child, "")
		}
		for _, blob := range a.blobs {
			complete = complete && w.upload(ctx, blob)
		}
		if !complete {
			return false
		}
		got := w.do(ctx, message{method: http.MethodPut, path: w.path("manifests", reference), mediaType: a.mediaType, body: a.raw})
		if got.status == http.StatusCreated {
			w.tally.pushed.Add(1)
			w.note(func() {
				w.world.known[a.digest], w.linked[a.digest] = a, true
				delete(w.gone, a.digest)
			})
			return true
		}
		if !strings.Contains(string(got.body), "MANIFEST_BLOB_UNKNOWN") {
			return w.expect(got, "push of "+reference, http.StatusCreated)
		}
		w.tally.refused.Add(1)
	}
	w.world.t.Errorf("%s: push of %s: blobs are unknown again and again", w.repository, a.digest)
	return false
}

// push pushes an artifact under a tag or by digest alone, and expects it from then on.
func (w *worker) push(ctx context.Context, a *artifact, tag string) {
	if !w.world.begin(a) {
		return
	}
	defer w.world.end(a)
	if !w.put(ctx, a, tag) {
		return
	}
	w.note(func() {
		switch {
		case tag != "":
			w.history[tag] = append(w.history[tag], a)
		case a.subject != nil:
			if w.referrers[a.subject.digest] == nil {
				w.referrers[a.subject.digest] = map[string]*artifact{}
			}
			w.referrers[a.subject.digest][a.digest] = a
		default:
			w.loose[a.digest] = a
		}
	})
}

// step is one thing that a client does.
func (w *worker) step(ctx context.Context) {
	tag := fmt.Sprintf("v%d", w.random.IntN(tags))
	switch w.random.IntN(20) {
	case 0, 1, 2:
		w.push(ctx, w.image(nil), tag)
	case 3:
		w.push(ctx, w.image(nil), "")
	case 4:
		w.push(ctx, newIndex(w.image(nil), w.image(nil)), tag)
	case 5:
		if subject := w.any(); subject != nil {
			w.push(ctx, w.image(subject), "")
		}
	case 6, 7, 8, 9, 10:
		w.pushOld(ctx, tag)
	case 11, 12:
		w.deleteTag(ctx, tag)
	case 13, 14:
		w.deleteDigest(ctx)
	case 15:
		if w.random.IntN(3) == 0 {
			w.deleteStream(ctx)
		}
	case 16:
		w.deleteCarefully(ctx)
	default:
		if a := w.any(); a != nil {
			w.pull(ctx, w.caller, a, map[string]bool{})
		}
	}
}

// pushOld brings back what some repository had, perhaps long ago.
func (w *worker) pushOld(ctx context.Context, tag string) {
	a := w.world.old(w.random)
	if a == nil {
		return
	}
	relinked := false
	w.note(func() { relinked = w.linked[a.digest] })
	if w.random.IntN(3) == 0 && (*randomRelink || !relinked) {
		tag = ""
	}
	w.tally.again.Add(1)
	w.push(ctx, a, tag)
}

// deleteTag takes a tag with its history.
func (w *worker) deleteTag(ctx context.Context, tag string) {
	w.tally.deleted.Add(1)
	if w.expect(w.do(ctx, message{method: http.MethodDelete, path: w.path("manifests", tag)}), "delete of tag "+tag, http.StatusAccepted, http.StatusNotFound) {
		w.note(func() { delete(w.history, tag) })
	}
}

// deleteDigest takes a manifest out of the repository, with every tag that has it now.
func (w *worker) deleteDigest(ctx context.Context) {
	a := w.any()
	if a == nil {
		return
	}
	w.tally.deleted.Add(1)
	got := w.do(ctx, message{method: http.MethodDelete, path: w.path("manifests", a.digest)})
	if !w.expect(got, "delete of "+a.digest, http.StatusAccepted, http.StatusNotFound, http.StatusMethodNotAllowed) || got.status == http.StatusMethodNotAllowed {
		return // part of an index
	}
	w.note(func() {
		for tag, list := range w.history {
			if list[len(list)-1].digest == a.digest {
				delete(w.history, tag)
				continue
			}
			w.history[tag] = slices.DeleteFunc(slices.Clone(list), func(other *artifact) bool { return other.digest == a.digest })
		}
		delete(w.loose, a.digest)
		w.gone[a.digest] = true
		if a.subject != nil {
			delete(w.referrers[a.subject.digest], a.digest)
		}
	})
	// The other replica knows as soon as its watch tells.
	var last answer
	err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, 10*time.Second, true, func(ctx context.Context) (bool, error) {
		last = w.do(ctx, message{method: http.MethodHead, path: w.path("manifests", a.digest)})
		return last.status == http.StatusNotFound, nil
	})
	if err != nil {
		w.world.t.Errorf("%s: %s ten seconds after its deletion, which was answered with %s: %s", w.repository, a.digest, got, last)
	}
}

func (w *worker) deleteStream(ctx context.Context) {
	namespace, stream, _ := strings.Cut(w.repository, "/")
	err := w.world.Images.ImageV1().ImageStreams(namespace).Delete(ctx, stream, metav1.DeleteOptions{})
	if err != nil {
		return // there is none
	}
	w.tally.deleted.Add(1)
	w.note(func() {
		clear(w.history)
		clear(w.loose)
		clear(w.referrers)
	})
}

// deleteCarefully asks as the pruner does for what must stay.
func (w *worker) deleteCarefully(ctx context.Context) {
	var a *artifact
	w.note(func() {
		for _, tag := range slices.Sorted(maps.Keys(w.history)) {
			list := w.history[tag]
			a = list[w.random.IntN(len(list))]
		}
	})
	if a == nil {
		return
	}
	got := w.do(ctx, message{method: http.MethodDelete, path: w.path("manifests", a.digest) + "?onlyunreferenced=true"})
	w.expect(got, "careful delete of "+a.digest, http.StatusMethodNotAllowed, http.StatusNotFound)
	for _, blob := range a.blobs {
		got := w.do(ctx, message{method: http.MethodDelete, path: w.path("blobs", digestOf(blob)) + "?onlyunreferenced=true"})
		w.expect(got, "careful delete of blob "+digestOf(blob), http.StatusMethodNotAllowed, http.StatusNotFound)
	}
}

// pull reads an artifact by digest, with everything below it that was not seen yet.
func (w *worker) pull(ctx context.Context, from *caller, a *artifact, seen map[string]bool) {
	read := func(kind, d string) {
		if seen[d] {
			return
		}
		seen[d] = true
		got := from.do(ctx, message{method: http.MethodGet, path: w.path(kind, d), header: http.Header{"Accept": {ociManifest, ociIndex}}})
		if got.status != http.StatusOK || digestOf(got.body) != d {
			w.world.t.Errorf("LOST: %s at %s: %s %s of %s, promised as %v: %s", w.repository, from.replicas[0].host, kind, d, a.digest, w.promises(a), got)
		}
	}
	w.tally.pulled.Add(1)
	read("manifests", a.digest)
	for _, blob := range a.blobs {
		read("blobs", digestOf(blob))
	}
	for _, child := range a.children {
		if !w.deleted(child) {
			w.pull(ctx, from, child, seen)
		}
	}
}

func (w *worker) deleted(a *artifact) bool {
	w.world.mu.Lock()
	defer w.world.mu.Unlock()
	return w.gone[a.digest]
}

// check pulls everything that must be there, from one replica.
func (w *worker) check(ctx context.Context, from *caller) {
	var held map[string]*artifact
	current := map[string]string{}
	w.note(func() {
		held = w.held()
		for tag, list := range w.history {
			current[tag] = list[len(list)-1].digest
		}
	})
	seen := map[string]bool{}
	for _, a := range held {
		w.pull(ctx, from, a, seen)
	}
	for tag, d := range current {
		got := from.do(ctx, message{method: http.MethodGet, path: w.path("manifests", tag), header: http.Header{"Accept": {ociManifest, ociIndex}}})
		if got.status != http.StatusOK || digestOf(got.body) != d {
			w.world.t.Errorf("LOST: %s:%s at %s: %s, want %s", w.repository, tag, from.replicas[0].host, got, d)
		}
	}
	for subject, list := range w.referrers {
		if held[subject] == nil || len(list) == 0 {
			continue
		}
		got := from.do(ctx, message{method: http.MethodGet, path: w.path("referrers", subject)})
		for d := range list {
			if got.status != http.StatusOK || !strings.Contains(string(got.body), d) {
				w.world.t.Errorf("LOST: %s at %s: referrer %s of %s: %s", w.repository, from.replicas[0].host, d, subject, got)
			}
		}
	}
}

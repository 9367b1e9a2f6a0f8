//go:build component

package datapath

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	ociManifest = "application/vnd.oci.image.manifest.v1+json"
	ociIndex    = "application/vnd.oci.image.index.v1+json"
	ociConfig   = "application/vnd.oci.image.config.v1+json"
	ociLayer    = "application/vnd.oci.image.layer.v1.tar"

	// commonLayers are those that images of all repositories have, each now and then.
	commonLayers = 8
)

// artifact is a manifest or an index that clients push, with all that it consists of.
type artifact struct {
	digest, mediaType string
	raw               []byte
	blobs             [][]byte
	children          []*artifact
	subject           *artifact
}

// visit calls see for the artifact and all below it.
func (a *artifact) visit(see func(*artifact)) {
	see(a)
	for _, child := range a.children {
		child.visit(see)
	}
}

type descriptor struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int    `json:"size"`
}

func describe(mediaType string, content []byte) descriptor {
	return descriptor{mediaType, digestOf(content), len(content)}
}

func digestOf(content []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(content)) }

// content is reproducible.
func content(seed, serial uint64, size int) []byte {
	raw := make([]byte, 0, size+8)
	for source := rand.NewPCG(seed, serial); len(raw) < size; {
		raw = fmt.Appendf(raw, "%x", source.Uint64())
	}
	return raw
}

func newArtifact(config []byte, layers [][]byte, subject *artifact) *artifact {
	document := map[string]any{"schemaVersion": 2, "mediaType": ociManifest, "config": describe(ociConfig, config)}
	list := []descriptor{}
	for _, layer := range layers {
		list = append(list, describe(ociLayer, layer))
	}
	document["layers"] = list
	if subject != nil {
		document["subject"] = describe(subject.mediaType, subject.raw)
		document["artifactType"] = "application/vnd.example.note"
	}
	raw, _ := json.Marshal(document) // of strings and numbers
	return &artifact{digest: digestOf(raw), mediaType: ociManifest, raw: raw, blobs: append([][]byte{config}, layers...), subject: subject}
}

func newIndex(children ...*artifact) *artifact {
	list := []descriptor{}
	for _, child := range children {
		list = append(list, describe(child.mediaType, child.raw))
	}
	raw, _ := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": ociIndex, "manifests": list})
	return &artifact{digest: digestOf(raw), mediaType: ociIndex, raw: raw, children: children}
}

// tally counts what happened, so that a test which tried nothing cannot pass.
type tally struct {
	pushed, again, mounted, chunked, skipped, refused, deleted, cut, kills, pulled, pruned atomic.Int64
	collections, interrupted, blobs, links, repositories, saved                            atomic.Int64
}

func (t *tally) String() string {
	return fmt.Sprintf("%d manifests pushed (%d of old content, %d times told to begin again), %d mounts, %d uploads in chunks over replicas, %d blobs found there; "+
		"%d deletes, %d images pruned; %d kills cut off %d requests; %d collections (and %d interrupted) took %d blobs, %d links and %d repositories and were refused %d blobs; %d manifests pulled whole",
		t.pushed.Load(), t.again.Load(), t.refused.Load(), t.mounted.Load(), t.chunked.Load(), t.skipped.Load(),
		t.deleted.Load(), t.pruned.Load(), t.kills.Load(), t.cut.Load(), t.collections.Load(), t.interrupted.Load(),
		t.blobs.Load(), t.links.Load(), t.repositories.Load(), t.saved.Load(), t.pulled.Load())
}

// world is what the clients were promised.
type world struct {
	*environment
	t        *testing.T
	seed     uint64
	replicas []*replica
	workers  []*worker
	tally    *tally
	common   [][]byte

	// mu guards the rest, and what each worker expects.
	mu sync.Mutex
	// known are all artifacts that a repository has accepted once.
	known map[string]*artifact
	// busy counts who is pushing an artifact.
	busy map[string]int
	// retired artifacts are not pushed again, so their Images can be pruned at any moment.
	retired map[string]bool
}

// begin reserves an artifact for a push. It fails when it is retired.
func (w *world) begin(a *artifact) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	free := true
	a.visit(func(part *artifact) { free = free && !w.retired[part.digest] })
	if !free {
		return false
	}
	a.visit(func(part *artifact) { w.busy[part.digest]++ })
	return true
}

func (w *world) end(a *artifact) {
	w.mu.Lock()
	defer w.mu.Unlock()
	a.visit(func(part *artifact) { w.busy[part.digest]-- })
}

// unwanted are the artifacts that no repository has to serve and nobody is pushing. The
// caller holds mu.
func (w *world) unwanted() []string {
	wanted := map[string]bool{}
	for _, one := range w.workers {
		for d := range one.held() {
			wanted[d] = true
		}
	}
	var list []string
	for _, d := range slices.Sorted(maps.Keys(w.known)) {
		if !wanted[d] && w.busy[d] == 0 && !w.retired[d] {
			list = append(list, d)
		}
	}
	return list
}

// old picks an artifact that some repository has or had.
func (w *world) old(random *rand.Rand) *artifact {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := slices.Sorted(maps.Keys(w.known))
	if len(list) == 0 {
		return nil
	}
	// What was pushed long ago is as likely as what is there now.
	if unwanted := w.unwanted(); len(unwanted) > 0 && random.IntN(3) > 0 {
		list = unwanted
	}
	if a := w.known[list[random.IntN(len(list))]]; a.subject == nil {
		return a
	}
	return nil
}

// retire prunes a few Images for ever, while everything else goes on.
func (w *world) retire(ctx context.Context, random *rand.Rand) {
	w.mu.Lock()
	list := w.unwanted()
	random.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	list = list[:min(len(list), 3)]
	for _, d := range list {
		w.retired[d] = true
	}
	w.mu.Unlock()
	for _, d := range list {
		w.prune(ctx, d)
	}
}

// prune deletes an Image as the pruner does: the object that was read, if nobody has taken
// it up since.
func (w *world) prune(ctx context.Context, d string) {
	images := w.Images.ImageV1().Images()
	image, err := images.Get(ctx, d, metav1.GetOptions{})
	if err == nil {
		err = images.Delete(ctx, d, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &image.UID, ResourceVersion: &image.ResourceVersion}})
	}
	switch {
	case err == nil:
		w.tally.pruned.Add(1)
	case !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) && ctx.Err() == nil:
		w.t.Errorf("prune %s: %v", d, err)
	}
}

// pruneSome deletes half of the Images that nobody wants, in a quiet moment. Their content is
// pushed again later, by clients that find parts of it in the storage.
func (w *world) pruneSome(ctx context.Context, random *rand.Rand) {
	w.mu.Lock()
	list := w.unwanted()
	w.mu.Unlock()
	for _, d := range list {
		if random.IntN(2) == 0 {
			w.prune(ctx, d)
		}
	}
}

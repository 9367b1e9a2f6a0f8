package links

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	imagev1 "image.alauda.io/api/image/v1"
	imageclient "image.alauda.io/client-go/clientset/versioned"
	"image.alauda.io/registry/pkg/pruner/execute"
	"image.alauda.io/registry/pkg/pruner/registry"
	"image.alauda.io/registry/pkg/pruner/report"
)

// reason stands in every line about a link.
const reason = "no image of the stream needs it"

// Registry is what the remover needs of the registry.
type Registry interface {
	DeleteManifest(ctx context.Context, repository, digest string) (registry.Outcome, error)
	DeleteBlob(ctx context.Context, repository, digest string) (registry.Outcome, error)
	// Stopped returns why nothing is sent any more.
	Stopped() error
	// Address is where the registry is, for the report.
	Address() string
}

// Remover removes links.
type Remover struct {
	Client imageclient.Interface
	// Registry is nil in a dry run.
	Registry Registry
	// Keep extends a set of images by children and referrers.
	Keep func(map[string]string)
	// Workers is how many streams are worked on at a time.
	Workers int
	// Progress, if given, is told of every stream, by several goroutines at a time.
	Progress func(done, total int)
}

// Remove removes the links of all changes and returns the lines of a report in their order. What stops all
// requests to the registry is one line at the end; what was not reached has none.
func (r *Remover) Remove(ctx context.Context, changes []Change) []report.Item {
	items := make([][]report.Item, len(changes))
	indexes := make(chan int)
	var done atomic.Int64
	var group sync.WaitGroup
	for range max(r.Workers, 1) {
		group.Go(func() {
			for i := range indexes {
				if ctx.Err() == nil && !r.stopped() {
					items[i] = r.change(ctx, changes[i])
				}
				if count := done.Add(1); r.Progress != nil {
					r.Progress(int(count), len(changes))
				}
			}
		})
	}
	for i := range changes {
		indexes <- i
	}
	close(indexes)
	group.Wait()
	all := slices.Concat(items...)
	if r.stopped() {
		all = append(all, report.Item{Action: report.Failed, Kind: report.KindRegistry, Name: r.Registry.Address(), Error: r.Registry.Stopped().Error()})
	}
	return all
}

func (r *Remover) stopped() bool { return r.Registry != nil && r.Registry.Stopped() != nil }

// change removes what one stream lost.
func (r *Remover) change(ctx context.Context, change Change) []report.Item {
	manifests, blobs, err := r.gone(ctx, change)
	if err != nil {
		return []report.Item{{Action: report.Failed, Kind: report.KindImageStream, Namespace: change.Namespace, Name: change.Name,
			Error: fmt.Sprintf("the links of what it lost stay: %v", err)}}
	}
	items := r.links(ctx, change, report.KindManifestLink, manifests)
	return append(items, r.links(ctx, change, report.KindLayerLink, blobs)...)
}

func (r *Remover) links(ctx context.Context, change Change, kind string, digests []string) []report.Item {
	var items []report.Item
	for _, digest := range digests {
		if ctx.Err() != nil || r.stopped() {
			break
		}
		item := report.Item{Action: report.WouldDelete, Kind: kind, Namespace: change.Namespace, Name: change.Name, Digest: digest, Reason: reason}
		if r.Registry != nil && !r.remove(ctx, change, &item) {
			break
		}
		items = append(items, item)
	}
	return items
}

// remove sends one deletion; false means that the registry is not asked any more.
func (r *Remover) remove(ctx context.Context, change Change, item *report.Item) bool {
	send := r.Registry.DeleteBlob
	if item.Kind == report.KindManifestLink {
		send = r.Registry.DeleteManifest
	}
	outcome, err := send(ctx, change.Repository(), item.Digest)
	switch outcome {
	case registry.Done:
		item.Action = report.Deleted
	case registry.Skipped:
		item.Action, item.Reason = report.Skipped, err.Error()
	default:
		var stopped *registry.StoppedError
		if errors.As(err, &stopped) {
			return false
		}
		item.Action, item.Reason, item.Error = report.Failed, "", err.Error()
	}
	return true
}

// gone finds the manifests and blobs that nothing in the stream needs any more. What the stream lists now
// is asked for after it was written: a push since then needs links as well.
func (r *Remover) gone(ctx context.Context, change Change) (manifests, blobs []string, err error) {
	manifests, stay := change.manifests(r.Keep)
	if len(manifests) == 0 {
		return nil, nil, nil
	}
	layers, err := r.Client.ImageV1().ImageStreams(change.Namespace).Layers(ctx, change.Name, metav1.GetOptions{})
	if execute.IsGone(err) {
		return nil, nil, nil // the whole repository is left to the next collection
	}
	if err != nil {
		return nil, nil, fmt.Errorf("layers: %w", err)
	}
	if r.Registry != nil {
		for digest := range layers.Images {
			stay[digest] = ""
		}
		r.Keep(stay)
		manifests = slices.DeleteFunc(manifests, func(digest string) bool { _, stays := stay[digest]; return stays })
	}
	needed := map[string]bool{}
	for digest := range stay {
		names, known, err := r.blobs(ctx, digest, layers)
		if err != nil {
			return nil, nil, err
		}
		if !known && digest != "" && slices.Contains(change.Listed, digest) {
			return nil, nil, nil // which links it needs is not known; they are left to the next collection
		}
		needed[digest] = true
		for _, name := range names {
			needed[name] = true
		}
	}
	lost := map[string][]string{}
	for _, digest := range manifests {
		if lost[digest], _, err = r.blobs(ctx, digest, layers); err != nil {
			return nil, nil, err
		}
	}
	return manifests, blobsGone(lost, needed), nil
}

// blobs lists the blobs of an image, from its stream or from the Image. One that does not exist has none; of
// it, and of one that is incomplete, it is not known what it consists of.
func (r *Remover) blobs(ctx context.Context, digest string, layers *imagev1.ImageStreamLayers) (names []string, known bool, err error) {
	if references, listed := layers.Images[digest]; listed && !references.ImageMissing {
		names = blobsIn(references)
		return names, len(names)+len(references.Manifests) > 0, nil
	}
	image, err := r.Client.ImageV1().Images().Get(ctx, digest, metav1.GetOptions{})
	if execute.IsGone(err) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("image %s: %w", digest, err)
	}
	names = blobsOf(image)
	return names, len(names)+len(image.DockerImageManifests) > 0, nil
}

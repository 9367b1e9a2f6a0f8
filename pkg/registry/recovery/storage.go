package recovery

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/registry/route"
	"image.alauda.io/registry/pkg/registry/store"

	"github.com/opencontainers/go-digest"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// freshness is how old the view of a stream may be when a tag is written.
const freshness = 5 * time.Second

// storage looks through all repositories.
func (r *Recovery) storage(ctx context.Context) error {
	var failed error
	inventory := store.Inventory{Store: r.Store, Odd: func(path string, reason error) {
		if r.Namespace == "" || strings.HasPrefix(path, "repositories/"+r.Namespace+"/") {
			failed = errors.Join(failed, r.problem("storage "+path, "left alone: %s", reason))
		}
	}}
	err := inventory.Repositories(ctx, func(repository string) error {
		if r.Namespace != "" && !strings.HasPrefix(repository, r.Namespace+"/") {
			return nil
		}
		r.progress("checking the storage")
		if err := r.repository(ctx, inventory, repository); err != nil {
			return fmt.Errorf("repository %s: %w", repository, err)
		}
		return failed
	})
	return errors.Join(err, failed)
}

// repository compares one repository with its stream.
func (r *Recovery) repository(ctx context.Context, inventory store.Inventory, repository string) error {
	r.summary.Repositories++
	name, err := route.ParseName(repository, r.ServerAddr)
	if err != nil {
		return r.problem(repository, "the name is not <namespace>/<image stream>, so it cannot be served; its content stays in the storage")
	}
	work := &repositoryWork{Recovery: r, name: name, seen: map[digest.Digest]verdict{}}
	if err := work.refresh(ctx); err != nil {
		return err
	}
	manifests, err := work.manifests(ctx, inventory)
	if err != nil {
		return err
	}
	steps := plan(work.known, manifests)
	if len(steps) == 0 {
		return nil
	}
	if exists, err := r.namespaceExists(ctx, name.Namespace); err != nil || !exists {
		return err
	}
	if !work.known.exists && !r.recovers() {
		if err := r.line(repository, "there is no image stream; recover would create it"); err != nil {
			return err
		}
	}
	for _, one := range steps {
		if err := work.do(ctx, one); err != nil {
			return err
		}
	}
	return nil
}

// namespaceExists reports a missing namespace once.
func (r *Recovery) namespaceExists(ctx context.Context, name string) (bool, error) {
	if exists, asked := r.namespaces[name]; asked {
		return exists, nil
	}
	exists := true
	if r.NamespaceExists != nil {
		var err error
		if exists, err = r.NamespaceExists(ctx, name); err != nil {
			return false, fmt.Errorf("namespace %s: %w", name, err)
		}
	}
	if !exists {
		return false, r.namespaceMissing(name)
	}
	r.namespaces[name] = true
	return true, nil
}

func (r *Recovery) namespaceMissing(name string) error {
	r.namespaces[name] = false
	return r.problem("namespace "+name, "it does not exist, so its repositories cannot be recovered; create it and run this again")
}

// repositoryWork is the work on one repository.
type repositoryWork struct {
	*Recovery
	name  route.Name
	known known
	read  time.Time
	seen  map[digest.Digest]verdict
}

// refresh reads what the image API knows of the repository.
func (w *repositoryWork) refresh(ctx context.Context) error {
	now := w.Now()
	stream, err := w.API.Stream(ctx, w.name)
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("image stream: %w", err)
	}
	var layers *imagev1.ImageStreamLayers
	if err == nil {
		if layers, err = w.API.Layers(ctx, w.name); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("layers of the image stream: %w", err)
		}
	} else {
		stream = nil
	}
	w.known, w.read = knownOf(stream, layers), now
	return nil
}

// manifests reads which manifests the repository links, and verifies those that the stream
// does not lead to.
func (w *repositoryWork) manifests(ctx context.Context, inventory store.Inventory) ([]linked, error) {
	found := map[digest.Digest]*linked{}
	var order []digest.Digest
	err := inventory.Links(ctx, w.name.String(), store.Revisions, func(_, canonical digest.Digest) error {
		if found[canonical] == nil {
			found[canonical] = &linked{digest: canonical}
			order = append(order, canonical)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	w.summary.Manifests += len(order)
	if err := w.noteTags(ctx, inventory, found); err != nil {
		return nil, err
	}
	slices.Sort(order)
	manifests := make([]linked, 0, len(order))
	for _, d := range order {
		w.progress("checking the storage")
		one := found[d]
		if w.known.state(d) != inStream || len(one.tags) > 0 {
			if err := w.describe(ctx, one); err != nil {
				return nil, err
			}
		}
		manifests = append(manifests, *one)
	}
	return manifests, nil
}

// noteTags adds to the manifests the tags that the storage notes and the stream lacks.
func (w *repositoryWork) noteTags(ctx context.Context, inventory store.Inventory, found map[digest.Digest]*linked) error {
	return inventory.Tags(ctx, w.name.String(), func(tag string, canonical digest.Digest) error {
		if w.known.tags[tag] {
			return nil
		}
		object := w.name.String() + ":" + tag
		if _, err := route.ParseTag(tag); err != nil {
			return w.problem(object, "the storage notes a tag that is not valid")
		}
		if found[canonical] == nil {
			return w.problem(object, "the storage notes %s for this tag, which is not linked in the repository", canonical)
		}
		found[canonical].tags = append(found[canonical].tags, tag)
		return nil
	})
}

// describe reads what the plan needs to know of a manifest.
func (w *repositoryWork) describe(ctx context.Context, one *linked) error {
	check := &verifier{Recovery: w.Recovery, name: w.name, seen: w.seen}
	parsed, result, err := check.check(ctx, one.digest, maxDepth)
	if err != nil {
		return fmt.Errorf("manifest %s: %w", one.digest, err)
	}
	w.seen[one.digest] = result
	if one.defect = result.defect(); one.defect != "" {
		return nil
	}
	one.children = parsed.children
	if parsed.Subject != nil {
		one.subject = parsed.canonicalOf(parsed.Subject.Digest)
	}
	return nil
}

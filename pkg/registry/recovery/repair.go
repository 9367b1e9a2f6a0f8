package recovery

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/registry/apierror"
	"image.alauda.io/registry/pkg/registry/imagebuild"
	"image.alauda.io/registry/pkg/registry/route"
	"image.alauda.io/registry/pkg/registry/store"

	"github.com/opencontainers/go-digest"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

const (
	// createdBy stands in streams that recovery has created.
	createdBy = "image-registry -restore-mode=recover"

	attempts   = 5
	maxPause   = 30 * time.Second
	firstPause = time.Second
)

// do reports a step and, in recover mode, takes it.
func (w *repositoryWork) do(ctx context.Context, one step) error {
	object := w.name.String() + "@" + one.digest.String()
	missing := w.missing(one)
	if one.defect != "" {
		return w.problem(object, "%s and cannot be recovered: %s", missing, one.defect)
	}
	if one.unsure {
		if exists, err := w.imageExists(ctx, one.digest); err != nil || exists {
			return err
		}
	}
	if !w.recovers() {
		return w.repairable(object, missing, one.words("tag it", "create its Image"))
	}
	if exists, asked := w.namespaces[w.name.Namespace]; asked && !exists {
		return nil
	}
	if err := w.take(ctx, &one); err != nil {
		return w.refused(object, missing, err)
	}
	return w.repairable(object, missing, one.words("tagged", "created its Image"))
}

func (w *repositoryWork) missing(one step) string {
	switch w.known.state(one.digest) {
	case inStream:
		return "the image stream has lost tags of it"
	case imageMissing:
		return "the image stream leads to it, but its Image is missing"
	}
	return "it is not in the image stream"
}

func (s step) words(tag, image string) string {
	if len(s.tags) == 0 {
		return image
	}
	return tag + " " + strings.Join(s.tags, ", ")
}

func (w *repositoryWork) imageExists(ctx context.Context, d digest.Digest) (bool, error) {
	_, err := w.API.Image(ctx, d.String())
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("image %s: %w", d, err)
	}
	return true, nil
}

// errChanged says that content was changed between the check and the repair.
var errChanged = errors.New("it was changed in this moment")

// take brings a manifest back. Like a push it looks at everything anew, keeps collectors
// away, records children first and the manifest last.
func (w *repositoryWork) take(ctx context.Context, one *step) error {
	found, image, err := w.build(ctx, one.digest)
	if err != nil {
		return err
	}
	for _, child := range found.children {
		build := func(ctx context.Context) (*imagev1.Image, error) {
			_, image, err := w.build(ctx, child)
			return image, err
		}
		err := w.patiently(ctx, func() error { return w.pusher.Renew(ctx, w.name, child.String(), build) })
		if err != nil && !errors.Is(err, errChanged) {
			return fmt.Errorf("child %s: %w", child, err)
		}
	}
	if len(one.tags) == 0 {
		err = w.patiently(ctx, func() error {
			if err := w.pusher.EnsureStream(ctx, w.name, w.createStream); err != nil {
				return err
			}
			return w.pusher.Image(ctx, w.name, image)
		})
	} else {
		err = w.tag(ctx, one, image)
	}
	if err != nil || found.Subject == nil {
		return err
	}
	return w.Store.PutReferrer(ctx, w.name, found.Subject.Digest, one.digest, one.digest)
}

// build verifies a manifest and makes its Image. A child that is incomplete has none.
func (w *repositoryWork) build(ctx context.Context, d digest.Digest) (*verified, *imagev1.Image, error) {
	check := &verifier{Recovery: w.Recovery, name: w.name, seen: map[digest.Digest]verdict{}, rely: true}
	linked, err := w.Store.Link(ctx, w.name, store.Revisions, d)
	if errors.Is(err, store.ErrNotFound) || err == nil && linked != d {
		return nil, nil, errChanged
	}
	if err != nil {
		return nil, nil, err
	}
	found, result, err := check.check(ctx, d, maxDepth)
	if err != nil {
		return nil, nil, err
	}
	if result.defect() != "" {
		return nil, nil, fmt.Errorf("%w: %s", errChanged, result.defect())
	}
	image, err := w.builder.Image(ctx, w.name, found.Manifest, imagebuild.Sources{
		Canonical: found.canonicalOf,
		Child: func(ctx context.Context, named digest.Digest) (digest.Digest, error) {
			return w.Store.Link(ctx, w.name, store.Revisions, named)
		},
	})
	return found, image, err
}

// tag gives an image its tags, but for those that somebody has pushed meanwhile.
func (w *repositoryWork) tag(ctx context.Context, one *step, image *imagev1.Image) error {
	var given []string
	for _, tag := range one.tags {
		if w.Now().Sub(w.read) >= freshness {
			if err := w.refresh(ctx); err != nil {
				return err
			}
		}
		if w.known.tags[tag] {
			continue
		}
		err := w.patiently(ctx, func() error { return w.pusher.Tag(ctx, w.name, tag, image, w.createStream) })
		if err != nil {
			return fmt.Errorf("tag %s: %w", tag, err)
		}
		w.known.tags[tag], w.known.exists = true, true
		given = append(given, tag)
		if err := w.Store.PutTagHint(ctx, w.name, tag, one.digest); err != nil {
			return err
		}
	}
	one.tags = given
	return nil
}

func (w *repositoryWork) createStream(ctx context.Context, name route.Name) error {
	return w.pusher.Create(ctx, name, createdBy)
}

// patiently repeats what the image API puts off: limits that are being loaded, quotas that
// many write to, a restart.
func (r *Recovery) patiently(ctx context.Context, call func() error) error {
	delay := firstPause
	for i := 1; ; i++ {
		err := call()
		var refusal *apierror.Error
		if i == attempts || !errors.As(err, &refusal) || refusal.Status != http.StatusServiceUnavailable {
			return err
		}
		if seconds, convErr := strconv.Atoi(refusal.Header.Get("Retry-After")); convErr == nil {
			delay = max(delay, time.Duration(seconds)*time.Second)
		}
		if err := r.Wait(ctx, min(delay, maxPause)); err != nil {
			return err
		}
		delay *= 2
	}
}

// refused reports what stands in the way of one manifest. Other errors end the run.
func (w *repositoryWork) refused(object, missing string, err error) error {
	var refusal *apierror.Error
	switch {
	case errors.Is(err, errChanged):
		return w.problem(object, "%s and was not recovered: %s", missing, err)
	case !errors.As(err, &refusal) || refusal.Status >= http.StatusInternalServerError:
		return err
	case refusal.Status == http.StatusNotFound && refusal.Entries[0].Code == apierror.CodeNameUnknown:
		return w.namespaceMissing(w.name.Namespace)
	}
	return w.problem(object, "%s and was not recovered, the image API refuses it: %s", missing, refusal.Entries[0].Message)
}

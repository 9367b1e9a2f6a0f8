// Package lastref writes on an Image when a stream last took it up, before the
// stream is written. The pruner deletes an Image only if nobody did so for a
// while; with that, pruning needs no lock.
//
// In: the digests that a write brings into the history of a stream. Out: the
// annotation image.alauda.io/lastReferencedTime on those Images that were
// neither created nor stamped within the last minute, and the names of those
// that are gone.
//
// A Request remembers what it stamped, so the retries of one write stamp once.
// It never creates or deletes Images.
package lastref

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/clock"

	imagev1 "image.alauda.io/api/image/v1"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/apis/image/validation"
)

// Coalesce is how old a stamp may be before a new one is written. The pruner's
// grace period counts on it.
const Coalesce = time.Minute

// parallelStamps bounds the Images of one request that are read and stamped at
// a time. A request may copy thousands.
const parallelStamps = 8

// Images reads and changes Images with the server's own rights.
type Images interface {
	Find(ctx context.Context, name string) (*imageapi.Image, error)
	Change(ctx context.Context, name string, fn func(*imageapi.Image)) error
}

// GoneError tells that an Image does not exist any more.
type GoneError struct {
	// Digest names the Image.
	Digest string
}

// Error tells the user what to do.
func (e *GoneError) Error() string {
	return fmt.Sprintf("image %s has been removed, push or import it again", e.Digest)
}

// Stamper makes Requests.
type Stamper struct {
	images Images
	clock  clock.PassiveClock
}

// NewStamper stamps images by the time of clock.
func NewStamper(images Images, clock clock.PassiveClock) *Stamper {
	return &Stamper{images: images, clock: clock}
}

// Request stamps on behalf of one API request. It is not safe for concurrent
// use.
type Request struct {
	stamper *Stamper
	dryRun  bool
	done    map[string]bool
}

// Begin starts a request. A dry run stamps nothing.
func (s *Stamper) Begin(dryRun bool) *Request {
	return &Request{stamper: s, dryRun: dryRun, done: map[string]bool{}}
}

// Created notes that this request created the Image itself.
func (r *Request) Created(digest string) { r.done[digest] = true }

// Forget makes the next Stamp look at the Image again.
func (r *Request) Forget(digest string) { delete(r.done, digest) }

// Stamp stamps the Images, each once, several at a time. A GoneError tells one
// that does not exist. What was stamped before an error is not stamped again.
func (r *Request) Stamp(ctx context.Context, digests []string) error {
	if r.dryRun {
		return nil
	}
	var mutex sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelStamps)
	for _, digest := range digests {
		mutex.Lock()
		done := r.done[digest]
		mutex.Unlock()
		if done {
			continue
		}
		group.Go(func() error {
			if err := r.stamper.stamp(ctx, digest); err != nil {
				return err
			}
			mutex.Lock()
			defer mutex.Unlock()
			r.done[digest] = true
			return nil
		})
	}
	return group.Wait()
}

func (s *Stamper) stamp(ctx context.Context, digest string) error {
	image, err := s.images.Find(ctx, digest)
	if apierrors.IsNotFound(err) {
		return &GoneError{Digest: digest}
	}
	if err != nil {
		return fmt.Errorf("stamp image %s: %w", digest, err)
	}
	if fresh(image, s.clock.Now()) {
		return nil
	}
	err = s.images.Change(ctx, digest, func(current *imageapi.Image) {
		if fresh(current, s.clock.Now()) {
			return
		}
		if current.Annotations == nil {
			current.Annotations = map[string]string{}
		}
		current.Annotations[imagev1.ImageLastReferencedTimeAnnotation] = s.clock.Now().UTC().Format(time.RFC3339)
	})
	if apierrors.IsNotFound(err) {
		return &GoneError{Digest: digest}
	}
	if err != nil {
		return fmt.Errorf("stamp image %s: %w", digest, err)
	}
	return nil
}

// fresh tells whether the Image was created or stamped so recently that the
// pruner will not take it.
func fresh(image *imageapi.Image, now time.Time) bool {
	last := image.CreationTimestamp.Time
	if stamped, err := validation.ParseTime(image.Annotations[imagev1.ImageLastReferencedTimeAnnotation]); err == nil && stamped.After(last) {
		last = stamped
	}
	return now.Sub(last) <= Coalesce
}

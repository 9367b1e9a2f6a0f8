// Package limits refuses pushes early that the LimitRanges and ResourceQuotas of their
// namespace do not allow.
//
// The image API enforces both when an image is recorded. That is too late for the bytes:
// they have been sent and stored by then. And it is never for a push by digest, which adds
// nothing to a stream. So the registry compares the size of a blob while it arrives, the
// size of an image when its manifest arrives, and for a push by digest whether the
// namespace may have one more image.
//
// In: LimitRanges and ResourceQuotas from a Source; the name of a namespace and sizes. Out:
// nothing, or a refusal as the client gets it: 403 with the text of the image API, and 503
// when the limits cannot be read, because a limit that is not known must not be passed by.
//
// Lists are kept for a while and shared by requests that wait for the same one. Nothing is
// ever written, and no usage is counted here.
package limits

import (
	"context"
	"time"

	"image.alauda.io/registry/pkg/registry/apierror"

	corev1 "k8s.io/api/core/v1"
)

// Source reads the limits of a namespace.
type Source interface {
	// LimitRanges lists all of a namespace; one that does not exist has none.
	LimitRanges(ctx context.Context, namespace string) ([]corev1.LimitRange, error)
	// ResourceQuotas lists all of a namespace; one that does not exist has none.
	ResourceQuotas(ctx context.Context, namespace string) ([]corev1.ResourceQuota, error)
}

// Options of a Checker.
type Options struct {
	// TTL is how long a list is used; with 0 each request has one that it waits for.
	TTL time.Duration
	// Now is the clock of the TTL.
	Now func() time.Time
}

// Checker answers what a namespace allows. A nil Checker allows everything: the checks are
// switched off. All methods may be used concurrently.
type Checker struct {
	ranges *lists[Size]
	quotas *lists[[]corev1.ResourceQuota]
}

// New returns a Checker; nothing is read yet.
func New(source Source, options Options) *Checker {
	ranges := func(ctx context.Context, namespace string) (Size, error) {
		list, err := source.LimitRanges(ctx, namespace)
		return smallest(list), err
	}
	quotas := func(ctx context.Context, namespace string) ([]corev1.ResourceQuota, error) {
		list, err := source.ResourceQuotas(ctx, namespace)
		return ofImages(list), err
	}
	return &Checker{ranges: newLists(options, ranges), quotas: newLists(options, quotas)}
}

// ImageSize returns how large an image of the namespace, and so a blob, may be. The error
// is what the client must be told.
func (c *Checker) ImageSize(ctx context.Context, namespace string) (Size, error) {
	if c == nil {
		return Size{}, nil
	}
	size, err := c.ranges.get(ctx, namespace)
	if err != nil {
		return Size{}, unavailable(err)
	}
	return size, nil
}

// AnotherImage refuses an image that no tag names when a quota of the namespace has no room
// for one. The quota is read anew: who has just made room, or filled it, is not told of a
// minute ago. The error is what the client must be told.
func (c *Checker) AnotherImage(ctx context.Context, namespace string) error {
	if c == nil {
		return nil
	}
	quotas, err := c.quotas.fresh(ctx, namespace)
	if err != nil {
		return unavailable(err)
	}
	return roomForImage(quotas)
}

// Warnings returns what whoever pushed should know: a sentence for every quota that is
// nearly used up. It is best effort, for the push has succeeded.
func (c *Checker) Warnings(ctx context.Context, namespace string) []string {
	if c == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, warningTimeout)
	defer cancel()
	quotas, err := c.quotas.get(ctx, namespace)
	if err != nil {
		return nil
	}
	return nearlyFull(quotas)
}

// warningTimeout is how long a push that is done waits for its warnings.
const warningTimeout = 2 * time.Second

func unavailable(err error) error {
	return apierror.Unavailable(err, "the limits of the namespace cannot be read at the moment, try again")
}

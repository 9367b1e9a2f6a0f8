// Package limits decides what the LimitRanges of a namespace allow: how large
// one image may be (type alauda.io/Image), and how many images and tags one
// stream may have (type alauda.io/ImageStream).
//
// In: the LimitRanges of the namespace, and the size of an image or a stream
// before and after a write. Out: nothing, or an *ExceededError. Every
// LimitRange counts, so the smallest limit is the one that holds.
//
// Decisions are pure. A write that adds nothing to a stream always passes:
// otherwise nobody could clean up a stream that is over a new limit. What is
// counted, UsageOf, is also what quotas count.
package limits

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	imagev1 "image.alauda.io/api/image/v1"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
)

// ExceededError says which limits a request exceeds. Clients recognise its
// text.
type ExceededError struct {
	// Problems are one sentence for each limit.
	Problems []string
}

// Error joins the sentences.
func (e *ExceededError) Error() string { return strings.Join(e.Problems, ", ") }

// CheckImage refuses an image of size bytes that is larger than allowed.
func CheckImage(ranges []*corev1.LimitRange, size int64) error {
	limit := minimum(ranges, imagev1.LimitTypeImage, corev1.ResourceStorage)
	requested := resource.NewQuantity(size, resource.BinarySI)
	if limit == nil || requested.Cmp(*limit) <= 0 {
		return nil
	}
	shown := resource.NewQuantity(limit.Value(), resource.BinarySI)
	return &ExceededError{Problems: []string{sentence("storage", imagev1.LimitTypeImage, requested.String(), shown.String())}}
}

// HasImageLimit tells whether CheckImage could refuse anything.
func HasImageLimit(ranges []*corev1.LimitRange) bool {
	return minimum(ranges, imagev1.LimitTypeImage, corev1.ResourceStorage) != nil
}

// CheckStream refuses a stream that adds to old and has more than allowed
// after it.
func CheckStream(ranges []*corev1.LimitRange, stream, old *imageapi.ImageStream) error {
	limited := []struct {
		name  corev1.ResourceName
		count func(Usage) int
	}{
		{imagev1.ResourceImages, func(u Usage) int { return len(u.Images) }},
		{imagev1.ResourceImageTags, func(u Usage) int { return len(u.Tags) }},
	}
	var usage *Usage
	exceeded := &ExceededError{}
	for _, resourceLimit := range limited {
		limit := minimum(ranges, imagev1.LimitTypeImageStream, resourceLimit.name)
		if limit == nil {
			continue
		}
		if usage == nil {
			counted := UsageOf(stream)
			if !counted.addsTo(UsageOf(old)) {
				return nil
			}
			usage = &counted
		}
		if used := resource.NewQuantity(int64(resourceLimit.count(*usage)), resource.DecimalSI); used.Cmp(*limit) > 0 {
			exceeded.Problems = append(exceeded.Problems, sentence(string(resourceLimit.name), imagev1.LimitTypeImageStream, used.String(), limit.String()))
		}
	}
	if len(exceeded.Problems) == 0 {
		return nil
	}
	return exceeded
}

// minimum is the smallest limit of all LimitRanges, nil when there is none.
func minimum(ranges []*corev1.LimitRange, kind corev1.LimitType, name corev1.ResourceName) *resource.Quantity {
	var least *resource.Quantity
	for _, limitRange := range ranges {
		for i := range limitRange.Spec.Limits {
			item := &limitRange.Spec.Limits[i]
			if limit, found := item.Max[name]; found && item.Type == kind && (least == nil || limit.Cmp(*least) < 0) {
				least = &limit
			}
		}
	}
	return least
}

func sentence(name string, kind corev1.LimitType, requested, limit string) string {
	return fmt.Sprintf("requested usage of %s %s per %s (%s > %s)", name, imagev1.LimitExceededText, kind, requested, limit)
}

package limits

import (
	"cmp"
	"fmt"
	"math"
	"net/http"
	"slices"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/registry/apierror"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Size is the largest size that images of a namespace may have. The zero value is no limit.
type Size struct {
	limit     int64
	limitedBy string
}

// Limited tells whether there is a limit.
func (s Size) Limited() bool { return s.limitedBy != "" }

// Room returns how many bytes can follow those that are there; never less than zero.
func (s Size) Room(present int64) int64 {
	if !s.Limited() {
		return math.MaxInt64
	}
	return max(s.limit-present, 0)
}

// Check refuses more bytes than are allowed; exactly the limit is allowed.
func (s Size) Check(size int64) error {
	if !s.Limited() || size <= s.limit {
		return nil
	}
	return apierror.New(http.StatusForbidden, apierror.CodeDenied, "requested usage of storage %s per %s (%s > %s), LimitRange %s",
		imagev1.LimitExceededText, imagev1.LimitTypeImage, bytes(size), bytes(s.limit), s.limitedBy)
}

func bytes(n int64) string { return resource.NewQuantity(n, resource.BinarySI).String() }

// smallest finds the limit that holds: of several LimitRanges the smallest, and of equal
// ones the first by name.
func smallest(ranges []corev1.LimitRange) Size {
	var least Size
	for i := range ranges {
		for _, item := range ranges[i].Spec.Limits {
			limit, found := item.Max[corev1.ResourceStorage]
			if item.Type != imagev1.LimitTypeImage || !found {
				continue
			}
			candidate := Size{limit: whole(limit), limitedBy: ranges[i].Name}
			if !least.Limited() || candidate.less(least) {
				least = candidate
			}
		}
	}
	return least
}

// whole is a quantity as a number of bytes. Quantities may be larger than such a number, and
// their own conversion then gives 0 or less, which would refuse every push.
func whole(quantity resource.Quantity) int64 {
	if quantity.CmpInt64(math.MaxInt64) >= 0 {
		return math.MaxInt64
	}
	return max(quantity.Value(), 0)
}

func (s Size) less(other Size) bool {
	return cmp.Or(cmp.Compare(s.limit, other.limit), cmp.Compare(s.limitedBy, other.limitedBy)) < 0
}

// counted are the resources of images, in the order in which they are reported.
var counted = []corev1.ResourceName{imagev1.ResourceImageStreams, imagev1.ResourceImages, imagev1.ResourceImageTags}

// ofImages keeps the quotas that limit images. Scopes speak of Pods, so a quota with scopes
// does not.
func ofImages(quotas []corev1.ResourceQuota) []corev1.ResourceQuota {
	var kept []corev1.ResourceQuota
	for _, quota := range quotas {
		if len(quota.Spec.Scopes) > 0 || quota.Spec.ScopeSelector != nil {
			continue
		}
		if slices.ContainsFunc(counted, func(name corev1.ResourceName) bool { _, found := quota.Spec.Hard[name]; return found }) {
			kept = append(kept, quota)
		}
	}
	slices.SortFunc(kept, func(a, b corev1.ResourceQuota) int { return cmp.Compare(a.Name, b.Name) })
	return kept
}

// roomForImage refuses one more image. What a quota has used is not known before the image
// API has counted it for the first time, which takes seconds.
func roomForImage(quotas []corev1.ResourceQuota) error {
	for i := range quotas {
		hard, limited := quotas[i].Spec.Hard[imagev1.ResourceImages]
		if !limited {
			continue
		}
		used, known := quotas[i].Status.Used[imagev1.ResourceImages]
		switch {
		case hard.Sign() <= 0, known && used.Cmp(hard) >= 0:
			return apierror.New(http.StatusForbidden, apierror.CodeDenied, "%s %s, requested: %[3]s=1, used: %[3]s=%[4]s, limited: %[3]s=%[5]s",
				imagev1.QuotaExceededText, quotas[i].Name, imagev1.ResourceImages, used.String(), hard.String())
		case !known:
			return apierror.Unavailable(nil, "%s %s, try again", imagev1.QuotaUnknownText, quotas[i].Name)
		}
	}
	return nil
}

// nearlyFull is a sentence for each resource of which more than 90 % are used.
func nearlyFull(quotas []corev1.ResourceQuota) []string {
	var warnings []string
	for i := range quotas {
		for _, name := range counted {
			hard, limited := quotas[i].Spec.Hard[name]
			used, known := quotas[i].Status.Used[name]
			if limited && known && hard.Sign() > 0 && used.AsApproximateFloat64()/hard.AsApproximateFloat64() > 0.9 {
				warnings = append(warnings, fmt.Sprintf("quota %s: %s of %s %s are used", quotas[i].Name, used.String(), hard.String(), name))
			}
		}
	}
	return warnings
}

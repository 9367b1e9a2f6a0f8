package quota

import (
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	imagev1 "image.alauda.io/api/image/v1"
)

// Amounts says how much of each resource.
type Amounts map[corev1.ResourceName]int64

// Reconciled are the names whose usage this server keeps right. Of the generic
// object count it only reserves; kube-controller-manager counts it again.
func Reconciled() []corev1.ResourceName {
	return []corev1.ResourceName{imagev1.ResourceImages, imagev1.ResourceImageStreams, imagev1.ResourceImageTags}
}

func enforced() []corev1.ResourceName {
	return append(Reconciled(), imagev1.ResourceImageStreamObjects)
}

// amountsOf spells out streams, images and tags under their names in quotas.
func amountsOf(streams, images, tags int64) Amounts {
	return Amounts{
		imagev1.ResourceImageStreams:       streams,
		imagev1.ResourceImageStreamObjects: streams,
		imagev1.ResourceImages:             images,
		imagev1.ResourceImageTags:          tags,
	}
}

// positive keeps what grows.
func (a Amounts) positive() Amounts {
	grows := Amounts{}
	for name, amount := range a {
		if amount > 0 {
			grows[name] = amount
		}
	}
	return grows
}

// plus returns the sum of both.
func (a Amounts) plus(b Amounts) Amounts {
	sum := maps.Clone(a)
	if sum == nil {
		sum = Amounts{}
	}
	for name, amount := range b {
		sum[name] += amount
	}
	return sum
}

// minus returns the difference.
func (a Amounts) minus(b Amounts) Amounts {
	negated := Amounts{}
	for name, amount := range b {
		negated[name] = -amount
	}
	return a.plus(negated)
}

// zero tells whether nothing is left.
func (a Amounts) zero() bool {
	for _, amount := range a {
		if amount != 0 {
			return false
		}
	}
	return true
}

// limitedBy keeps the names that a quota limits.
func (a Amounts) limitedBy(hard corev1.ResourceList) Amounts {
	kept := Amounts{}
	for name, amount := range a {
		if _, found := hard[name]; found {
			kept[name] = amount
		}
	}
	return kept
}

// text writes the amounts of names as name=amount, joined by commas.
func (a Amounts) text(names []corev1.ResourceName) string {
	parts := make([]string, 0, len(names))
	for _, name := range names {
		parts = append(parts, string(name)+"="+resource.NewQuantity(a[name], resource.DecimalSI).String())
	}
	return strings.Join(parts, ",")
}

func (a Amounts) names() []corev1.ResourceName { return slices.Sorted(maps.Keys(a)) }

// whole is a quantity in whole units, rounded down: 1500m streams are one.
func whole(quantity resource.Quantity) int64 {
	value := quantity.Value() // rounded up
	if resource.NewQuantity(value, resource.DecimalSI).Cmp(quantity) > 0 {
		value--
	}
	return value
}

// Constrains tells whether a quota limits any resource of images. Scopes speak
// of Pods, so a quota with scopes does not.
func Constrains(quota *corev1.ResourceQuota) bool {
	return limitsAny(quota, enforced())
}

func limitsAny(quota *corev1.ResourceQuota, names []corev1.ResourceName) bool {
	if len(quota.Spec.Scopes) > 0 || quota.Spec.ScopeSelector != nil {
		return false
	}
	for _, name := range names {
		if _, found := quota.Spec.Hard[name]; found {
			return true
		}
	}
	return false
}

package snapshot

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	imagev1 "image.alauda.io/api/image/v1"
)

// limits reads how large an image may be in each namespace that says so.
func (s Source) limits(ctx context.Context, pages pager) (map[string]int64, error) {
	limits := map[string]int64{}
	err := pages.each(ctx, "limitranges", of(s.Kube.CoreV1().LimitRanges(metav1.NamespaceAll).List),
		func() { clear(limits) },
		func(object runtime.Object) error {
			limitRange, ok := object.(*corev1.LimitRange)
			if !ok {
				return fmt.Errorf("unexpected %T", object)
			}
			addLimits(limits, limitRange)
			return nil
		})
	return limits, err
}

// addLimits keeps the smallest of all limits of a namespace: an image exceeds when it exceeds any of them.
func addLimits(limits map[string]int64, limitRange *corev1.LimitRange) {
	for _, item := range limitRange.Spec.Limits {
		greatest, limited := item.Max[corev1.ResourceStorage]
		if item.Type != imagev1.LimitTypeImage || !limited {
			continue
		}
		if known, exists := limits[limitRange.Namespace]; !exists || greatest.Value() < known {
			limits[limitRange.Namespace] = greatest.Value()
		}
	}
}

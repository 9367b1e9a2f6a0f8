package limits

import (
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	coreinformers "k8s.io/client-go/informers/core/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
)

// ErrNotSynced says that the LimitRanges are not known yet.
var ErrNotSynced = errors.New("the limits of the namespace are not known yet")

// Ranges finds LimitRanges in memory.
type Ranges struct {
	lister corelisters.LimitRangeLister
	synced func() bool
}

// NewRanges reads from an informer, which the caller starts.
func NewRanges(informer coreinformers.LimitRangeInformer) *Ranges {
	return &Ranges{lister: informer.Lister(), synced: informer.Informer().HasSynced}
}

// In returns the LimitRanges of a namespace, or ErrNotSynced.
func (r *Ranges) In(namespace string) ([]*corev1.LimitRange, error) {
	if !r.synced() {
		return nil, ErrNotSynced
	}
	ranges, err := r.lister.LimitRanges(namespace).List(labels.Everything())
	if err != nil {
		return nil, fmt.Errorf("limit ranges of namespace %s: %w", namespace, err)
	}
	return ranges, nil
}

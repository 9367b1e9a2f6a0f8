package online

import (
	"context"
	"strconv"
	"sync"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// localLeases keeps Leases in this process, for a registry without a cluster.
type localLeases struct {
	mu      sync.Mutex
	version int
	leases  map[string]*coordinationv1.Lease
}

// NewLocalLeases returns Leases that only this process sees.
func NewLocalLeases() Leases { return &localLeases{leases: map[string]*coordinationv1.Lease{}} }

var resource = coordinationv1.Resource("leases")

// Get implements Leases.
func (l *localLeases) Get(_ context.Context, name string, _ metav1.GetOptions) (*coordinationv1.Lease, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if lease, found := l.leases[name]; found {
		return lease.DeepCopy(), nil
	}
	return nil, apierrors.NewNotFound(resource, name)
}

// Create implements Leases.
func (l *localLeases) Create(_ context.Context, lease *coordinationv1.Lease, _ metav1.CreateOptions) (*coordinationv1.Lease, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, found := l.leases[lease.Name]; found {
		return nil, apierrors.NewAlreadyExists(resource, lease.Name)
	}
	return l.put(lease), nil
}

// Update implements Leases.
func (l *localLeases) Update(_ context.Context, lease *coordinationv1.Lease, _ metav1.UpdateOptions) (*coordinationv1.Lease, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	stored, found := l.leases[lease.Name]
	if !found {
		return nil, apierrors.NewNotFound(resource, lease.Name)
	}
	if stored.ResourceVersion != lease.ResourceVersion {
		return nil, apierrors.NewConflict(resource, lease.Name, nil)
	}
	return l.put(lease), nil
}

func (l *localLeases) put(lease *coordinationv1.Lease) *coordinationv1.Lease {
	l.version++
	stored := lease.DeepCopy()
	stored.ResourceVersion = strconv.Itoa(l.version)
	l.leases[lease.Name] = stored
	return stored.DeepCopy()
}

package online

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/registry/gc"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
)

// Leases are the calls that are made, those of client-go for one namespace. Update must
// refuse an object whose resourceVersion is not current.
type Leases interface {
	Get(ctx context.Context, name string, options metav1.GetOptions) (*coordinationv1.Lease, error)
	Create(ctx context.Context, lease *coordinationv1.Lease, options metav1.CreateOptions) (*coordinationv1.Lease, error)
	Update(ctx context.Context, lease *coordinationv1.Lease, options metav1.UpdateOptions) (*coordinationv1.Lease, error)
}

// takeAttempts bounds how often a Lease is read again that somebody changed meanwhile.
const takeAttempts = 5

// held is the Lease in the hands of one collection. take comes first; then write and
// release from one goroutine at a time. Silence may be asked for at any time.
type held struct {
	leases   Leases
	clock    clock.Clock
	identity string
	id       string

	// lease as it was stored last.
	lease *coordinationv1.Lease

	mu      sync.Mutex
	renewed time.Time
}

// take makes the collection the running one and stores its first report.
func (h *held) take(ctx context.Context, report gc.Report) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var err error
	for range takeAttempts {
		if err = h.attempt(ctx, report); !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) {
			return err
		}
	}
	return err
}

func (h *held) attempt(ctx context.Context, report gc.Report) error {
	start := h.clock.Now()
	lease, err := h.leases.Get(ctx, imagev1.GCLeaseName, metav1.GetOptions{})
	create := apierrors.IsNotFound(err)
	switch {
	case create:
		lease = &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: imagev1.GCLeaseName}}
	case err != nil:
		return fmt.Errorf("lease %s: %w", imagev1.GCLeaseName, err)
	case isHeld(lease, start) && !h.isOwn(lease):
		return &RunningError{ID: idOf(*lease.Spec.HolderIdentity)}
	}
	lease.Spec.AcquireTime = ptr.To(metav1.NewMicroTime(start))
	lease.Spec.LeaseTransitions = ptr.To(ptr.Deref(lease.Spec.LeaseTransitions, 0) + 1)
	if err := h.fill(lease, report, start, true); err != nil {
		return err
	}
	if create {
		lease, err = h.leases.Create(ctx, lease, metav1.CreateOptions{})
	} else {
		lease, err = h.leases.Update(ctx, lease, metav1.UpdateOptions{})
	}
	return h.stored(lease, start, err)
}

// isOwn tells whether the Lease names this process. As a process has one collection at a
// time and asks only without one, that is left from an attempt whose answer was lost.
func (h *held) isOwn(lease *coordinationv1.Lease) bool {
	text := ptr.Deref(lease.Spec.HolderIdentity, "")
	return text == holder(h.identity, idOf(text))
}

func (h *held) fill(lease *coordinationv1.Lease, report gc.Report, now time.Time, hold bool) error {
	text, err := encode(report)
	if err != nil {
		return err
	}
	if lease.Annotations == nil {
		lease.Annotations = map[string]string{}
	}
	lease.Annotations[imagev1.GCReportAnnotation] = text
	lease.Spec.LeaseDurationSeconds = ptr.To(int32(leaseDuration / time.Second))
	lease.Spec.RenewTime = ptr.To(metav1.NewMicroTime(now))
	lease.Spec.HolderIdentity = nil
	if hold {
		lease.Spec.HolderIdentity = ptr.To(holder(h.identity, h.id))
	}
	return nil
}

func (h *held) stored(lease *coordinationv1.Lease, start time.Time, err error) error {
	if err != nil {
		return fmt.Errorf("lease %s: %w", imagev1.GCLeaseName, err)
	}
	h.lease = lease
	h.mu.Lock()
	defer h.mu.Unlock()
	h.renewed = start
	return nil
}

// write renews the Lease with a report, and gives it up unless hold is true. errTaken
// says that it belongs to another one by now.
func (h *held) write(ctx context.Context, report gc.Report, hold bool) error {
	for {
		start := h.clock.Now()
		lease := h.lease.DeepCopy()
		if err := h.fill(lease, report, start, hold); err != nil {
			return err
		}
		lease, err := h.leases.Update(ctx, lease, metav1.UpdateOptions{})
		if err = h.stored(lease, start, err); !apierrors.IsConflict(err) {
			return err
		}
		if err := h.readAgain(ctx); err != nil {
			return err
		}
	}
}

// readAgain takes up what somebody else changed about the Lease, or this process itself
// without having seen the answer, if it is still held.
func (h *held) readAgain(ctx context.Context) error {
	lease, err := h.leases.Get(ctx, imagev1.GCLeaseName, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return errTaken
	case err != nil:
		return fmt.Errorf("lease %s: %w", imagev1.GCLeaseName, err)
	case ptr.Deref(lease.Spec.HolderIdentity, "") != holder(h.identity, h.id):
		return errTaken
	}
	h.lease = lease
	return nil
}

// silence is how long ago the last renewal began that succeeded.
func (h *held) silence() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.clock.Since(h.renewed)
}

// isHeld tells whether somebody holds the Lease. A renewal that lies in the future by
// more than a Lease lasts was made by a clock that nobody can wait for.
func isHeld(lease *coordinationv1.Lease, now time.Time) bool {
	if ptr.Deref(lease.Spec.HolderIdentity, "") == "" || lease.Spec.RenewTime == nil {
		return false
	}
	return now.Sub(lease.Spec.RenewTime.Time).Abs() < leaseDuration
}

// lastReport reads the report of the last collection. One that nobody goes on with has
// failed.
func lastReport(ctx context.Context, leases Leases, now time.Time) (gc.Report, error) {
	lease, err := leases.Get(ctx, imagev1.GCLeaseName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return gc.Report{}, ErrUnknown
	}
	if err != nil {
		return gc.Report{}, fmt.Errorf("lease %s: %w", imagev1.GCLeaseName, err)
	}
	text, found := lease.Annotations[imagev1.GCReportAnnotation]
	if !found {
		return gc.Report{}, ErrUnknown
	}
	report, err := decode(text)
	if err != nil {
		return gc.Report{}, err
	}
	if report.State == gc.StateRunning && (!isHeld(lease, now) || idOf(*lease.Spec.HolderIdentity) != report.ID) {
		report.State, report.Message = gc.StateFailed, "interrupted"
		if lease.Spec.RenewTime != nil {
			report.CompletionTime = ptr.To(metav1.NewTime(lease.Spec.RenewTime.UTC()))
		}
	}
	return report, nil
}

// isFinal tells errors of the Lease that no repetition mends.
func isFinal(err error) bool { return errors.Is(err, errTaken) || errors.Is(err, errTooLong) }

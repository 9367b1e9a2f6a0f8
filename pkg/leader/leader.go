// Package leader lets one of several processes work: the one that holds a Lease.
//
// In: the Lease, how long its holder may be silent, and the work. Out: the work running while this process
// leads. The order at the end is what the package is for: first the work ends, then the lease is given up,
// and only if it is still ours. A successor never works at the same time, and after an orderly end it begins
// at once.
//
// The package does not know what the work is, and holds no state beyond one call.
package leader

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/klog/v2"
)

// Times say how long a leader may be silent.
type Times struct {
	// Duration is how long others wait for a leader that is silent.
	Duration time.Duration
	// Renew is how long a leader tries to renew before it gives up; shorter than Duration.
	Renew time.Duration
	// Retry is the time between two attempts.
	Retry time.Duration
}

// Lease is what the processes compete for.
type Lease struct {
	// Kube reads and writes the Lease.
	Kube kubernetes.Interface
	// Namespace and Name of the Lease.
	Namespace, Name string
	// Identity of this process, unique among all.
	Identity string
	Times    Times
}

// Validate tells what is missing.
func (l Lease) Validate() error {
	if l.Kube == nil || l.Namespace == "" || l.Name == "" || l.Identity == "" {
		return errors.New("a lease needs a client, a namespace, a name and an identity")
	}
	return nil
}

// Lead waits for the lease, works while it is held, and returns when it was lost or ctx has ended, after the
// work. The context of the work ends with either.
func Lead(ctx context.Context, l Lease, work func(context.Context)) error {
	if err := l.Validate(); err != nil {
		return err
	}
	lock, err := resourcelock.New(resourcelock.LeasesResourceLock, l.Namespace, l.Name,
		l.Kube.CoreV1(), l.Kube.CoordinationV1(), resourcelock.ResourceLockConfig{Identity: l.Identity})
	if err != nil {
		return fmt.Errorf("lease %s/%s: %w", l.Namespace, l.Name, err)
	}
	logger := klog.FromContext(ctx).WithValues("lease", l.Name)
	// The lease outlives ctx until the work has ended. One that cannot be renewed is left alone until then, too:
	// the library would try to release it first, for as long as others wait for it, and the work would go on
	// when the next leader begins.
	holding, release := context.WithCancel(context.WithoutCancel(ctx))
	defer release()
	var working sync.Mutex
	defer context.AfterFunc(ctx, func() {
		working.Lock()
		defer working.Unlock()
		release()
	})()
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: lock, LeaseDuration: l.Times.Duration, RenewDeadline: l.Times.Renew, RetryPeriod: l.Times.Retry,
		Name: l.Name,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(leading context.Context) {
				working.Lock()
				defer working.Unlock()
				if leading.Err() != nil {
					return // The lease was given up before the work began.
				}
				leading, cancel := context.WithCancel(leading)
				defer cancel()
				defer context.AfterFunc(ctx, cancel)()
				work(leading)
			},
			OnStoppedLeading: func() {
				if ctx.Err() == nil {
					logger.Info("The lease was lost, the work ends")
				}
			},
			OnNewLeader: func(identity string) {
				logger.V(2).Info("Leader", "identity", identity, "self", identity == l.Identity)
			},
		},
	})
	if err != nil {
		return fmt.Errorf("lease %s/%s: %w", l.Namespace, l.Name, err)
	}
	elector.Run(holding)
	// The elector starts the work in a goroutine of its own and does not wait for it.
	release()
	working.Lock()
	defer working.Unlock()
	if err := giveUp(ctx, lock, l); err != nil {
		logger.V(2).Info("The lease could not be released, others wait until it expires", "err", err)
	}
	return nil
}

// giveUp releases the lease if it is still that of this process.
func giveUp(ctx context.Context, lock resourcelock.Interface, l Lease) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.Times.Renew)
	defer cancel()
	for {
		held, _, err := lock.Get(ctx)
		if apierrors.IsNotFound(err) || err == nil && held.HolderIdentity != l.Identity {
			return nil
		}
		if err != nil {
			return err
		}
		now := metav1.Now()
		// A second is the shortest lease. Nobody waits for it, as nobody holds it.
		err = lock.Update(ctx, resourcelock.LeaderElectionRecord{
			LeaderTransitions: held.LeaderTransitions, LeaseDurationSeconds: 1, RenewTime: now, AcquireTime: now,
		})
		if !apierrors.IsConflict(err) {
			return err
		}
	}
}

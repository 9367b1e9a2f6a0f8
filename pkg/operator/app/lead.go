package app

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/klog/v2"

	registryv1 "image.alauda.io/api/imageregistry/v1"
)

// LeaseTimes say how long a leader may be silent.
type LeaseTimes struct {
	// Duration is how long a standby waits for a leader that is silent.
	Duration time.Duration
	// Renew is how long a leader tries to renew before it gives up; shorter than Duration.
	Renew time.Duration
	// Retry is the time between two attempts.
	Retry time.Duration
}

// defaultLeaseTimes survive a restart of the API server, and cost two writes a minute.
func defaultLeaseTimes() LeaseTimes {
	return LeaseTimes{Duration: 137 * time.Second, Renew: 107 * time.Second, Retry: 26 * time.Second}
}

// errLostLease ends a process that is no longer the leader.
var errLostLease = errors.New("the lease was lost")

// lead runs work while this process holds the lease. When ctx ends, the lease is kept until work has ended:
// released earlier, the next leader would write at the same time as the last requests of this one.
func lead(ctx context.Context, o Options, kube kubernetes.Interface, work func(context.Context)) error {
	lock, err := resourcelock.New(resourcelock.LeasesResourceLock, o.Settings.Namespace, registryv1.OperatorName,
		kube.CoreV1(), kube.CoordinationV1(), resourcelock.ResourceLockConfig{Identity: o.Identity})
	if err != nil {
		return fmt.Errorf("lease: %w", err)
	}
	holding, release := context.WithCancel(context.WithoutCancel(ctx))
	defer release()
	var working sync.Mutex
	context.AfterFunc(ctx, func() {
		working.Lock()
		defer working.Unlock()
		release()
	})
	lost := false
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: lock, LeaseDuration: o.Lease.Duration, RenewDeadline: o.Lease.Renew, RetryPeriod: o.Lease.Retry,
		ReleaseOnCancel: true, Name: registryv1.OperatorName,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(leading context.Context) {
				working.Lock()
				defer working.Unlock()
				leading, cancel := context.WithCancel(leading)
				defer cancel()
				defer context.AfterFunc(ctx, cancel)()
				work(leading)
			},
			OnStoppedLeading: func() { lost = ctx.Err() == nil },
			OnNewLeader: func(identity string) {
				klog.FromContext(ctx).Info("Leader", "identity", identity, "self", identity == o.Identity)
			},
		},
	})
	if err != nil {
		return fmt.Errorf("leader election: %w", err)
	}
	elector.Run(holding)
	if lost {
		return errLostLease
	}
	return nil
}

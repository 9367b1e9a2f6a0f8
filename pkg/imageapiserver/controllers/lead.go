package controllers

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

// LeaseName is the Lease of the controllers, in the namespace of the server.
const LeaseName = "image-api-server-controllers"

// Options say how the controllers run.
type Options struct {
	// Kube writes the Lease.
	Kube kubernetes.Interface
	// Namespace of the Lease.
	Namespace string
	// Identity of this process, unique among the replicas.
	Identity string
	// LeaderElect false runs the controllers without a Lease: for a single replica only.
	LeaderElect bool
	// LeaseDuration is how long others wait for a silent leader, RenewDeadline how long a leader tries to
	// renew, RetryPeriod the time between two attempts. Zero takes 15 s, 10 s and 2 s.
	LeaseDuration, RenewDeadline, RetryPeriod time.Duration
}

func (o *Options) setDefaults() {
	if o.LeaseDuration == 0 {
		o.LeaseDuration = 15 * time.Second
	}
	if o.RenewDeadline == 0 {
		o.RenewDeadline = 10 * time.Second
	}
	if o.RetryPeriod == 0 {
		o.RetryPeriod = 2 * time.Second
	}
}

// Validate tells what is missing.
func (o Options) Validate() error {
	if o.LeaderElect && (o.Kube == nil || o.Namespace == "" || o.Identity == "") {
		return errors.New("controllers: a lease needs a client, a namespace and an identity")
	}
	return nil
}

// Run runs the controllers whenever this process leads, until the context ends and they have returned.
func Run(ctx context.Context, o Options, all []Controller) error {
	o.setDefaults()
	if err := o.Validate(); err != nil {
		return err
	}
	if len(all) == 0 {
		return nil
	}
	if !o.LeaderElect {
		runAll(ctx, all)
		return nil
	}
	for ctx.Err() == nil {
		if err := leadOnce(ctx, o, all); err != nil {
			return err
		}
	}
	return nil
}

// leadOnce waits for the lease, works while it is held, and returns when it was lost or the context ended.
func leadOnce(ctx context.Context, o Options, all []Controller) error {
	lock, err := resourcelock.New(resourcelock.LeasesResourceLock, o.Namespace, LeaseName,
		o.Kube.CoreV1(), o.Kube.CoordinationV1(), resourcelock.ResourceLockConfig{Identity: o.Identity})
	if err != nil {
		return fmt.Errorf("lease %s/%s: %w", o.Namespace, LeaseName, err)
	}
	// The lease outlives ctx until the controllers have returned. A lease that cannot be renewed is left alone
	// until then, too: the library would try to release it first, for as long as others wait for it, and the
	// controllers would still work when the next leader begins.
	holding, release := context.WithCancel(context.WithoutCancel(ctx))
	defer release()
	var working sync.Mutex
	defer context.AfterFunc(ctx, func() {
		working.Lock()
		defer working.Unlock()
		release()
	})()
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: lock, LeaseDuration: o.LeaseDuration, RenewDeadline: o.RenewDeadline, RetryPeriod: o.RetryPeriod,
		Name: LeaseName,
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
				runAll(leading, all)
			},
			OnStoppedLeading: func() {
				if ctx.Err() == nil {
					klog.FromContext(ctx).Info("The lease was lost, the controllers pause", "lease", LeaseName)
				}
			},
			OnNewLeader: func(identity string) {
				klog.FromContext(ctx).V(2).Info("Controllers run in", "identity", identity, "self", identity == o.Identity)
			},
		},
	})
	if err != nil {
		return fmt.Errorf("lease %s/%s: %w", o.Namespace, LeaseName, err)
	}
	elector.Run(holding)
	// The elector starts the work in a goroutine of its own and does not wait for it.
	release()
	working.Lock()
	defer working.Unlock()
	if err := giveUp(ctx, lock, o); err != nil {
		klog.FromContext(ctx).V(2).Info("The lease could not be released, others wait until it expires", "lease", LeaseName, "err", err)
	}
	return nil
}

// giveUp releases the lease if it is still that of this process.
func giveUp(ctx context.Context, lock resourcelock.Interface, o Options) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), o.RenewDeadline)
	defer cancel()
	for {
		held, _, err := lock.Get(ctx)
		if apierrors.IsNotFound(err) || err == nil && held.HolderIdentity != o.Identity {
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

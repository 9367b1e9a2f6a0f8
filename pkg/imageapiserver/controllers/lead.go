package controllers

import (
	"context"
	"fmt"
	"time"

	"k8s.io/client-go/kubernetes"

	"image.alauda.io/registry/pkg/leader"
)

// LeaseName is the Lease of the controllers, in the namespace of the server.
const LeaseName = "image-api-server-controllers"

// times let another replica take over soon after one was killed.
var times = leader.Times{Duration: 15 * time.Second, Renew: 10 * time.Second, Retry: 2 * time.Second}

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
	// Times of the Lease; zero takes 15 s, 10 s and 2 s.
	Times leader.Times
}

// Run runs the controllers whenever this process leads, until the context ends and they have returned.
func Run(ctx context.Context, o Options, all []Controller) error {
	if len(all) == 0 {
		return nil
	}
	if !o.LeaderElect {
		runAll(ctx, all)
		return nil
	}
	if o.Times == (leader.Times{}) {
		o.Times = times
	}
	lease := leader.Lease{Kube: o.Kube, Namespace: o.Namespace, Name: LeaseName, Identity: o.Identity, Times: o.Times}
	for ctx.Err() == nil {
		if err := leader.Lead(ctx, lease, func(ctx context.Context) { runAll(ctx, all) }); err != nil {
			return fmt.Errorf("controllers: %w", err)
		}
	}
	return nil
}

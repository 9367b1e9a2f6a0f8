package app

import (
	"context"
	"errors"
	"time"

	"k8s.io/client-go/kubernetes"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/leader"
)

// defaultLeaseTimes survive a restart of the API server, and cost two writes a minute.
func defaultLeaseTimes() leader.Times {
	return leader.Times{Duration: 137 * time.Second, Renew: 107 * time.Second, Retry: 26 * time.Second}
}

// errLostLease ends a process that is no longer the leader.
var errLostLease = errors.New("the lease was lost")

// lead runs work while this process holds the lease, and fails when the lease was lost.
func lead(ctx context.Context, o Options, kube kubernetes.Interface, work func(context.Context)) error {
	lease := leader.Lease{
		Kube: kube, Namespace: o.Settings.Namespace, Name: registryv1.OperatorName, Identity: o.Identity, Times: o.Lease,
	}
	if err := leader.Lead(ctx, lease, work); err != nil {
		return err
	}
	if ctx.Err() == nil {
		return errLostLease
	}
	return nil
}

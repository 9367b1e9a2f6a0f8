// Package bootstrap creates the two singletons when they do not exist.
//
// In: the typed clients. Out: Config/cluster in state Removed and ImagePruner/cluster with its schedule
// suspended, so that a fresh installation starts nothing on any node, registers no API and deletes no image
// before somebody asked for it.
//
// An object that exists is never changed, whoever made it.
package bootstrap

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	client "image.alauda.io/client-go/clientset/versioned/typed/imageregistry/v1"
)

// DefaultConfig is the first Config/cluster. Storage and rollout strategy stay empty: what fits is decided
// when the registry is enabled.
func DefaultConfig() *registryv1.Config {
	return &registryv1.Config{
		ObjectMeta: metav1.ObjectMeta{Name: registryv1.SingletonName, Finalizers: []string{registryv1.Finalizer}},
		Spec: registryv1.ConfigSpec{
			ManagementState:  registryv1.Removed,
			LogLevel:         registryv1.LogNormal,
			OperatorLogLevel: registryv1.LogNormal,
			Replicas:         ptr.To[int32](registryv1.DefaultReplicas),
			ImagePullSecret: registryv1.ImagePullSecretSpec{
				ManagementState:        registryv1.Managed,
				IgnoreSystemNamespaces: ptr.To(true),
			},
		},
	}
}

// DefaultPruner is the first ImagePruner/cluster: the retention policy is to be confirmed before the
// schedule runs.
func DefaultPruner() *registryv1.ImagePruner {
	return &registryv1.ImagePruner{
		ObjectMeta: metav1.ObjectMeta{Name: registryv1.SingletonName},
		Spec: registryv1.ImagePrunerSpec{
			Suspend:                    ptr.To(true),
			KeepTagRevisions:           ptr.To[int32](registryv1.DefaultKeepTagRevisions),
			KeepYoungerThanDuration:    &metav1.Duration{Duration: time.Hour},
			SuccessfulJobsHistoryLimit: ptr.To[int32](registryv1.DefaultJobsHistoryLimit),
			FailedJobsHistoryLimit:     ptr.To[int32](registryv1.DefaultJobsHistoryLimit),
		},
	}
}

// Config creates Config/cluster if it is missing and reports whether it did.
func Config(ctx context.Context, configs client.ConfigInterface) (bool, error) {
	_, err := configs.Create(ctx, DefaultConfig(), metav1.CreateOptions{FieldManager: registryv1.OperatorName})
	return created("Config", err)
}

// Pruner creates ImagePruner/cluster if it is missing and reports whether it did.
func Pruner(ctx context.Context, pruners client.ImagePrunerInterface) (bool, error) {
	_, err := pruners.Create(ctx, DefaultPruner(), metav1.CreateOptions{FieldManager: registryv1.OperatorName})
	return created("ImagePruner", err)
}

func created(kind string, err error) (bool, error) {
	if apierrors.IsAlreadyExists(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("create %s %s: %w", kind, registryv1.SingletonName, err)
	}
	return true, nil
}

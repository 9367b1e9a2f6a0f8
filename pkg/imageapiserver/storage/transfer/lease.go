package transfer

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"image.alauda.io/registry/pkg/imageapiserver/controllers"
)

// defaultLeaseSeconds is taken when a Lease does not say how long it lasts.
const defaultLeaseSeconds = 15

// ServerRuns tells who holds the Lease of the server's controllers, empty when nobody does. A server
// that writes while its objects are copied would lose what it wrote.
func ServerRuns(ctx context.Context, kube kubernetes.Interface, namespace string, now time.Time) (holder string, err error) {
	lease, err := kube.CoordinationV1().Leases(namespace).Get(ctx, controllers.LeaseName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("lease %s/%s: %w", namespace, controllers.LeaseName, err)
	}
	spec := lease.Spec
	if spec.HolderIdentity == nil || *spec.HolderIdentity == "" || spec.RenewTime == nil {
		return "", nil
	}
	seconds := int32(defaultLeaseSeconds)
	if spec.LeaseDurationSeconds != nil {
		seconds = *spec.LeaseDurationSeconds
	}
	if now.After(spec.RenewTime.Add(time.Duration(seconds) * time.Second)) {
		return "", nil
	}
	return *spec.HolderIdentity, nil
}

package collect

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"

	imagev1 "image.alauda.io/api/image/v1"
	imageregistryv1 "image.alauda.io/api/imageregistry/v1"
	imageclient "image.alauda.io/client-go/clientset/versioned"
	"image.alauda.io/registry/pkg/pruner/snapshot"
)

// ReadCluster reads what the guards look at.
func ReadCluster(ctx context.Context, client imageclient.Interface, clock clock.Clock) (Cluster, error) {
	var cluster Cluster
	err := snapshot.EachImage(ctx, client, clock, func() { cluster = Cluster{} }, func(image *imagev1.Image) {
		cluster.Images++
		if cluster.Incomplete == "" && snapshot.ImageOf(image).Incomplete {
			cluster.Incomplete = image.Name
		}
	})
	if err != nil {
		return cluster, err
	}
	config, err := client.ImageregistryV1().Configs().Get(ctx, imageregistryv1.SingletonName, metav1.GetOptions{})
	switch {
	case err == nil:
		cluster.Blocked = config.Annotations[imageregistryv1.BlockGCAnnotation] == "true"
	case !apierrors.IsNotFound(err): // without the operator there is no Config, and nobody serves its group
		return cluster, fmt.Errorf("reading Config %s: %w", imageregistryv1.SingletonName, err)
	}
	return cluster, nil
}

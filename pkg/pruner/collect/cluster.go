package collect

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/pager"

	imagev1 "image.alauda.io/api/image/v1"
	imageregistryv1 "image.alauda.io/api/imageregistry/v1"
	imageclient "image.alauda.io/client-go/clientset/versioned"
	"image.alauda.io/registry/pkg/pruner/snapshot"
)

const pageSize = 500

// ReadCluster reads what the guards look at.
func ReadCluster(ctx context.Context, client imageclient.Interface) (Cluster, error) {
	var cluster Cluster
	pages := pager.New(func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		return client.ImageV1().Images().List(ctx, options)
	})
	pages.PageSize, pages.PageBufferSize = pageSize, 1
	err := pages.EachListItem(ctx, metav1.ListOptions{}, func(object runtime.Object) error {
		image, ok := object.(*imagev1.Image)
		if !ok {
			return fmt.Errorf("unexpected %T", object)
		}
		cluster.Images++
		if cluster.Incomplete == "" && snapshot.ImageOf(image).Incomplete {
			cluster.Incomplete = image.Name
		}
		return nil
	})
	if err != nil {
		return cluster, fmt.Errorf("list of images: %w", err)
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

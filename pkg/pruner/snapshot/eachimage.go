package snapshot

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/clock"

	imagev1 "image.alauda.io/api/image/v1"
	imageclient "image.alauda.io/client-go/clientset/versioned"
)

// imagePage is how many Images EachImage reads at a time.
const imagePage = 500

// EachImage shows visit every Image of the cluster, without keeping any. restart is called before the list begins
// again.
func EachImage(ctx context.Context, client imageclient.Interface, clock clock.Clock, restart func(), visit func(*imagev1.Image)) error {
	return eachImage(ctx, pager{clock: clock, chunkSize: imagePage}, client, restart, visit)
}

func eachImage(ctx context.Context, pages pager, client imageclient.Interface, restart func(), visit func(*imagev1.Image)) error {
	return pages.each(ctx, "images", of(client.ImageV1().Images().List), restart, func(object runtime.Object) error {
		image, ok := object.(*imagev1.Image)
		if !ok {
			return fmt.Errorf("unexpected %T", object)
		}
		visit(image)
		return nil
	})
}

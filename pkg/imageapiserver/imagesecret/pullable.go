package imagesecret

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
)

// pageSize bounds the memory of a namespace with many Secrets.
const pageSize = 500

// Pullable lists the Secrets that imports into streams of a namespace may use.
// It reads only Secrets of the two types.
func Pullable(ctx context.Context, secrets corev1client.SecretsGetter, namespace string) ([]corev1.Secret, error) {
	var found []corev1.Secret
	for _, secretType := range []corev1.SecretType{corev1.SecretTypeDockerConfigJson, corev1.SecretTypeDockercfg} {
		options := metav1.ListOptions{FieldSelector: "type=" + string(secretType), Limit: pageSize}
		for {
			page, err := secrets.Secrets(namespace).List(ctx, options)
			if err != nil {
				return nil, err
			}
			for i := range page.Items {
				if page.Items[i].Type == secretType && usable(&page.Items[i]) {
					found = append(found, page.Items[i])
				}
			}
			if options.Continue = page.Continue; options.Continue == "" {
				break
			}
		}
	}
	return found, nil
}

package limits

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

type kubeSource struct{ client kubernetes.Interface }

// NewKubeSource reads the limits of a cluster.
func NewKubeSource(client kubernetes.Interface) Source { return kubeSource{client} }

func (k kubeSource) LimitRanges(ctx context.Context, namespace string) ([]corev1.LimitRange, error) {
	list, err := k.client.CoreV1().LimitRanges(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list limit ranges: %w", err)
	}
	return list.Items, nil
}

func (k kubeSource) ResourceQuotas(ctx context.Context, namespace string) ([]corev1.ResourceQuota, error) {
	list, err := k.client.CoreV1().ResourceQuotas(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list resource quotas: %w", err)
	}
	return list.Items, nil
}

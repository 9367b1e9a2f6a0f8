//go:build component

package operator

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/apply"
)

// wipe removes everything that an operator has ever made, as if none had been here. No operator may run.
func (l *lab) wipe() {
	l.t.Helper()
	ctx := l.t.Context()
	for _, name := range []string{"image-registry-serving-ca", "image-registry-tls", "image-api-server-serving-cert", "image-registry-operator-tls"} {
		_ = l.kube.CoreV1().Secrets(ns).Delete(ctx, name, metav1.DeleteOptions{})
	}
	for _, name := range []string{registryv1.ConfigMapServiceCA, registryv1.ConfigMapTrustedCA} {
		_ = l.kube.CoreV1().ConfigMaps(ns).Delete(ctx, name, metav1.DeleteOptions{})
	}
	for _, resource := range []string{"configs", "imagepruners"} {
		client := l.dynamic.Resource(configs.GroupVersion().WithResource(resource))
		_, _ = client.Patch(ctx, registryv1.SingletonName, types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
		_ = client.Delete(ctx, registryv1.SingletonName, metav1.DeleteOptions{})
	}
	for _, kind := range apply.Kinds() {
		list, err := l.dynamic.Resource(kind.GVR()).List(ctx, metav1.ListOptions{LabelSelector: registryv1.LabelManagedBy + "=" + registryv1.OperatorName})
		if err != nil {
			l.t.Fatal(err)
		}
		for _, object := range list.Items {
			if object.GetName() == registryv1.OperatorName || strings.HasPrefix(object.GetName(), registryv1.OperatorName+"-") {
				continue // installed with the operator
			}
			_ = l.dynamic.Resource(kind.GVR()).Namespace(object.GetNamespace()).Delete(ctx, object.GetName(), metav1.DeleteOptions{})
		}
	}
	accounts, err := l.kube.CoreV1().ServiceAccounts(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if err != nil {
		l.t.Fatal(err)
	}
	for _, account := range accounts.Items {
		if len(account.ImagePullSecrets) > 0 {
			account.ImagePullSecrets = []corev1.LocalObjectReference{}
			_, _ = l.kube.CoreV1().ServiceAccounts(account.Namespace).Update(ctx, &account, metav1.UpdateOptions{})
		}
	}
	l.eventually("everything is gone", func() (bool, string) {
		now, err := l.snap()
		if err != nil {
			return false, err.Error()
		}
		for name := range now {
			if !strings.Contains(name, registryv1.OperatorName) && name != "PersistentVolumeClaim "+ns+"/mine" {
				return false, name
			}
		}
		return true, ""
	})
}

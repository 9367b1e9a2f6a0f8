package registryconfig

import (
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/fault"
	"image.alauda.io/registry/pkg/operator/imagestorage"
)

// etcdSpan is the life of the certificates with which the image API reaches its etcd. Nobody renews them here, and
// with them the whole API ends.
func (c *Controller) etcdSpan(config *registryv1.Config) (name string, span imagestorage.Span, known bool) {
	wanted := config.Spec.ImageAPI.Storage
	if wanted.Type != registryv1.ImageStorageEtcd || wanted.Etcd == nil || wanted.Etcd.SecretName == "" {
		return "", imagestorage.Span{}, false
	}
	name = wanted.Etcd.SecretName
	if secret := c.secret(name); secret != nil {
		span, known = imagestorage.SpanOf(secret.Data)
	}
	return name, span, known
}

// etcdCertificateFault tells of certificates that cannot be used, and warns of their near end.
func (c *Controller) etcdCertificateFault(config *registryv1.Config) error {
	name, span, known := c.etcdSpan(config)
	if !known {
		return nil // the decision about the storage says what is wrong with it
	}
	now, end := c.Clock.Now(), span.NotAfter.UTC().Format(time.RFC3339)
	const renew = "write a new ca.crt, tls.crt and tls.key into it"
	switch {
	case now.After(span.NotAfter):
		return fault.Permanentf(registryv1.ReasonImageAPIStorageNotConfigured,
			"spec.imageAPI.storage.etcd.secretName of Config cluster names Secret %s in namespace %s, whose certificates expired at %s, so image-api-server cannot reach its etcd; %s", name, c.Settings.Namespace, end, renew)
	case now.Before(span.NotBefore):
		return fault.Permanentf(registryv1.ReasonImageAPIStorageNotConfigured,
			"spec.imageAPI.storage.etcd.secretName of Config cluster names Secret %s in namespace %s, whose certificate is not valid before %s; %s", name, c.Settings.Namespace, span.NotBefore.UTC().Format(time.RFC3339), renew)
	case span.Near(now):
		c.Events(corev1.EventTypeWarning, "ServingCertificateExpiring",
			fmt.Sprintf("Secret %s with the certificates for the etcd of the image API is valid until %s and is not renewed by the operator; %s", name, end, renew))
	}
	return nil
}

// withEtcdCertificate adds the certificates for the etcd to those of the status, whose metric and alert count them.
func (c *Controller) withEtcdCertificate(config *registryv1.Config, list []registryv1.CertificateStatus) []registryv1.CertificateStatus {
	name, span, known := c.etcdSpan(config)
	if !known || config.Spec.ManagementState == registryv1.Removed ||
		slices.ContainsFunc(list, func(have registryv1.CertificateStatus) bool { return have.Name == name }) {
		return list
	}
	return append(slices.Clone(list), registryv1.CertificateStatus{Name: name, NotAfter: metav1.NewTime(span.NotAfter)})
}

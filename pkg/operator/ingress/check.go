package ingress

import (
	"crypto/tls"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/apply"
)

// Pending says whether the certificate of a route is on its way: its Secret does not exist, and the operator
// is about to make it.
func Pending(route Route, secret *corev1.Secret) bool { return secret == nil && route.Issued() }

// Generated says whether the operator made the Secret of a route. Whoever copies one to put his own certificate into
// it copies its annotation, too. Without any managed fields the annotation is all there is.
func Generated(secret *corev1.Secret) bool {
	if len(secret.ManagedFields) == 0 {
		return secret.Annotations[registryv1.OwnedAnnotation] == "true"
	}
	return apply.WroteMark(secret, registryv1.OperatorName, registryv1.OwnedAnnotation)
}

// CheckSecret says what is wrong with the TLS Secret of a route; empty means nothing. What the operator issued
// itself is its own concern: it is renewed in time, and its controller reports when it cannot.
func CheckSecret(route Route, namespace string, secret *corev1.Secret, now time.Time) string {
	if secret == nil {
		return fmt.Sprintf("route %s: Secret %s does not exist in namespace %s; create it with the keys tls.crt and tls.key (%s.secretName)",
			route.Name, route.SecretName, namespace, route.Field)
	}
	if Generated(secret) && route.Issued() {
		return ""
	}
	say := func(format string, args ...any) string {
		return fmt.Sprintf("route %s: Secret %s in namespace %s %s", route.Name, route.SecretName, namespace, fmt.Sprintf(format, args...))
	}
	for _, key := range []string{corev1.TLSCertKey, corev1.TLSPrivateKeyKey} {
		if len(secret.Data[key]) == 0 {
			return say("lacks the key %s; write the certificate to tls.crt and its private key to tls.key", key)
		}
	}
	pair, err := tls.X509KeyPair(secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey])
	if err != nil {
		// The library's words may quote what it found, which is the private key if both were exchanged.
		return say("holds no certificate with a matching private key in PEM; replace tls.crt and tls.key together")
	}
	leaf := pair.Leaf
	if err := leaf.VerifyHostname(route.Host); err != nil {
		return say("has a certificate that is not valid for host %s; replace it, or change the host", route.Host)
	}
	switch {
	case now.After(leaf.NotAfter):
		return say("has a certificate that expired at %s; replace it", leaf.NotAfter.UTC().Format(time.RFC3339))
	case now.Before(leaf.NotBefore):
		return say("has a certificate that is not valid before %s; replace it", leaf.NotBefore.UTC().Format(time.RFC3339))
	}
	return ""
}

// CheckClass says what is wrong with the class of a route; empty means nothing. Without a class the cluster
// decides, and many controllers take such Ingresses without any default class.
func CheckClass(route Route, exists func(class string) bool) string {
	if route.Class == "" || exists(route.Class) {
		return ""
	}
	return fmt.Sprintf("route %s: IngressClass %s does not exist; create it, or change spec.ingress.className or ingressClassName of the route", route.Name, route.Class)
}

package certificates

import (
	"crypto/x509"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	imageregistryv1 "image.alauda.io/api/imageregistry/v1"
)

// maxSuppliedCA bounds the ca.crt of a supplied Secret: the bundle stands in every serving Secret, in the
// registration of the API and several times in one ConfigMap, which may have a megabyte.
const maxSuppliedCA = 32 << 10

// suppliedAuthority uses the administrator's signer as it is.
func suppliedAuthority(in Input, out *Result) *authority {
	signer, err := parseSigner(in.CASecret.Data[certKey], in.CASecret.Data[privateKey])
	if err == nil {
		err = validAt(signer.cert, in.Now)
	}
	if err != nil {
		out.problem(imageregistryv1.ReasonInvalidServingCertificate,
			"supplied Secret %s cannot sign: %v; correct it, or delete it to get a generated one", CASecretName, err)
		return nil
	}
	warnOfEnd(in, CASecretName, signer.cert, out)
	return &authority{active: signer, foreign: true}
}

// suppliedRoots are the authorities beside supplied Secrets: clients of the bundle meet their leaves.
func suppliedRoots(in Input, out *Result) []*x509.Certificate {
	var supplied []*corev1.Secret
	if in.CASecret != nil && !owned(in.CASecret) {
		supplied = append(supplied, in.CASecret)
	}
	for _, spec := range in.specs() {
		if live := in.Leaves[spec.secret]; live != nil && !spec.generated(live) {
			supplied = append(supplied, live)
		}
	}
	var roots []*x509.Certificate
	for _, secret := range supplied {
		text := secret.Data[leafCAKey]
		if len(text) > maxSuppliedCA {
			out.problem(imageregistryv1.ReasonInvalidServingCertificate,
				"ca.crt of supplied Secret %s has %d bytes and is not trusted, the most is %d; leave in it only what signs tls.crt",
				secret.Name, len(text), maxSuppliedCA)
			continue
		}
		for _, cert := range certificatesIn(text) {
			if in.Now.Before(cert.NotAfter) {
				roots = append(roots, cert)
			}
		}
	}
	return roots
}

// inspectSupplied reports about a Secret of the administrator without ever changing it. trusted are the
// certificates of the bundle, empty if there is none.
func inspectSupplied(in Input, spec leafSpec, live *corev1.Secret, trusted []*x509.Certificate, out *Result) *x509.Certificate {
	if spec.host != "" {
		return inspectRoute(in, spec, live, out)
	}
	const reason = imageregistryv1.ReasonInvalidServingCertificate
	supplied, err := parsePair(live.Data[certKey], live.Data[privateKey])
	if err != nil {
		out.problem(reason, "supplied Secret %s has no usable certificate and key: %v", spec.secret, err)
		return nil
	}
	host := spec.service + "." + in.Namespace + ".svc"
	if err := supplied.cert.VerifyHostname(host); err != nil {
		out.problem(reason, "supplied Secret %s is not valid for %s; issue it with this name", spec.secret, host)
	}
	if err := validAt(supplied.cert, in.Now); err != nil {
		out.problem(reason, "supplied Secret %s cannot be served: %v; renew it, or delete it to get a generated one", spec.secret, err)
		return supplied.cert
	}
	if len(trusted) > 0 && !verifies(supplied, trusted, in.Now) {
		// Nodes may know the issuer otherwise, but kube-apiserver trusts nothing but the bundle.
		if spec.secret == APIServerSecretName {
			out.problem(reason, "supplied Secret %s is not signed by what clients trust; put its issuer into key ca.crt of the Secret", spec.secret)
		} else {
			out.event(corev1.EventTypeWarning, reason, "supplied Secret %s has no ca.crt with its issuer: only clients that know the issuer otherwise trust it; add the key", spec.secret)
		}
	}
	warnOfEnd(in, spec.secret, supplied.cert, out)
	return supplied.cert
}

// warnOfEnd tells of the near end of what the operator does not renew. What lives for days only is told of
// when a quarter of its life is left, or it would be warned of for good.
func warnOfEnd(in Input, name string, cert *x509.Certificate, out *Result) {
	ahead := min(expiryWarning, cert.NotAfter.Sub(cert.NotBefore)/4)
	out.checkAt(cert.NotAfter.Add(-ahead), in.Now)
	out.checkAt(cert.NotAfter, in.Now)
	if !in.Now.Before(cert.NotAfter.Add(-ahead)) {
		out.event(corev1.EventTypeWarning, "ServingCertificateExpiring", "supplied Secret %s is valid until %s and is not renewed by the operator; replace its content before, or delete it to get a generated one",
			name, cert.NotAfter.UTC().Format(time.RFC3339))
	}
}

// validAt says why a certificate is not valid at a time.
func validAt(cert *x509.Certificate, now time.Time) error {
	switch {
	case now.After(cert.NotAfter):
		return fmt.Errorf("its certificate expired at %s", cert.NotAfter.UTC().Format(time.RFC3339))
	case now.Before(cert.NotBefore):
		return fmt.Errorf("its certificate is not valid before %s", cert.NotBefore.UTC().Format(time.RFC3339))
	}
	return nil
}

package certificates

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"sort"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// authority is the state of the signers: one signs, at most one is published ahead of its use, and the
// retired ones are still trusted for a while.
type authority struct {
	active, next *pair
	promoteAfter time.Time
	retired      []retiredSigner
	rotateSeen   string
	foreign      bool
}

type retiredSigner struct {
	cert  *x509.Certificate
	until time.Time
}

// decideAuthority reads the CA Secret and moves the rotation on by at most one step per call, so that
// each step is published before the next one is taken.
func decideAuthority(in Input, out *Result) *authority {
	if in.CASecret != nil && !owned(in.CASecret) {
		return suppliedAuthority(in, out)
	}
	ca, fresh := readAuthority(in, out)
	if ca == nil {
		return nil
	}
	switch {
	case fresh:
		ca.rotateSeen = in.RotateCA
	case ca.next == nil:
		startRotation(in, ca, out)
	case !in.Now.Before(ca.promoteAfter) && published(in.PublishedBundle, ca.next.cert):
		retire(ca, ca.active.cert, in.Now)
		ca.active, ca.next, ca.promoteAfter = ca.next, nil, time.Time{}
		out.event(corev1.EventTypeNormal, "CAPromoted", "signer %s now signs all serving certificates", ca.active.cert.Subject.CommonName)
	}
	dropRetired(ca, in.Now)
	return ca
}

// suppliedAuthority uses the administrator's signer as it is.
func suppliedAuthority(in Input, out *Result) *authority {
	signer, err := parseSigner(in.CASecret.Data[certKey], in.CASecret.Data[privateKey])
	if err == nil && in.Now.After(signer.cert.NotAfter) {
		err = fmt.Errorf("it expired at %s", signer.cert.NotAfter.UTC().Format(time.RFC3339))
	}
	if err != nil {
		out.problem("InvalidServingCertificate", "supplied Secret %s cannot sign: %v; correct it, or delete it to get a generated one", CASecretName, err)
		return nil
	}
	return &authority{active: signer, foreign: true}
}

// readAuthority parses the CA Secret. A missing, damaged or expired signer is replaced at once, by the
// published next signer if there is one; fresh tells that a new one was drawn.
func readAuthority(in Input, out *Result) (ca *authority, fresh bool) {
	ca = &authority{}
	reason := "no certification authority exists"
	if secret := in.CASecret; secret != nil {
		readNext(in, ca)
		readRetired(in, ca)
		ca.rotateSeen = secret.Annotations[rotateCAAnnotation]
		signer, err := parseSigner(secret.Data[certKey], secret.Data[privateKey])
		switch {
		case err != nil:
			reason = fmt.Sprintf("Secret %s is damaged", CASecretName)
			// The certificate may be whole while only its key is lost: leaves in use stay trusted.
			if certs, err := parseCertificates(secret.Data[certKey]); err == nil && len(certs) > 0 && certs[0].IsCA {
				retire(ca, certs[0], in.Now)
			}
		case in.Now.After(signer.cert.NotAfter):
			reason = "the certification authority expired"
		default:
			ca.active = signer
			return ca, false
		}
	}
	if ca.next != nil {
		ca.active, ca.next, ca.promoteAfter = ca.next, nil, time.Time{}
		out.event(corev1.EventTypeNormal, "CAPromoted", "%s: the published next signer %s takes over", reason, ca.active.cert.Subject.CommonName)
		return ca, true
	}
	signer, err := newSigner(in.Now)
	if err != nil {
		out.problem("InvalidServingCertificate", "create certification authority: %v", err)
		return nil, false
	}
	ca.active = signer
	out.event(corev1.EventTypeNormal, "CertificateIssued", "created certification authority %s: %s", signer.cert.Subject.CommonName, reason)
	return ca, true
}

// readNext takes over the published next signer. A damaged or expired one is dropped: a rotation that
// is still wanted starts again.
func readNext(in Input, ca *authority) {
	data := in.CASecret.Data
	if len(data[nextCertKey]) == 0 {
		return
	}
	next, err := parseSigner(data[nextCertKey], data[nextKeyKey])
	if err != nil || in.Now.After(next.cert.NotAfter) {
		return
	}
	ca.next = next
	ca.promoteAfter, err = time.Parse(time.RFC3339, in.CASecret.Annotations[promoteAnnotation])
	if err != nil {
		ca.promoteAfter = in.Now.Add(publishTime).UTC().Truncate(time.Second)
	}
}

// readRetired takes over the retired signers. One without a readable end stays for a full term from now.
func readRetired(in Input, ca *authority) {
	certs, err := parseCertificates(in.CASecret.Data[previousKey])
	if err != nil {
		return
	}
	until := map[string]time.Time{}
	for _, entry := range strings.Split(in.CASecret.Annotations[previousAnnotation], ",") {
		id, text, _ := strings.Cut(entry, "=")
		if at, err := time.Parse(time.RFC3339, text); err == nil {
			until[id] = at
		}
	}
	for _, cert := range certs {
		at, known := until[fingerprint(cert)]
		if !known {
			at = in.Now.Add(retireTime).UTC().Truncate(time.Second)
		}
		ca.retired = append(ca.retired, retiredSigner{cert: cert, until: at})
	}
}

// startRotation publishes a next signer when the active one nears its end or the administrator asks.
func startRotation(in Input, ca *authority, out *Result) {
	asked := in.RotateCA != "" && in.RotateCA != ca.rotateSeen
	if !asked && in.Now.Before(rotationStart(ca.active.cert)) {
		return
	}
	next, err := newSigner(in.Now)
	if err != nil {
		out.problem("InvalidServingCertificate", "create next certification authority: %v", err)
		return
	}
	ca.next = next
	ca.promoteAfter = in.Now.Add(publishTime).UTC().Truncate(time.Second)
	if asked {
		ca.rotateSeen = in.RotateCA
	}
	out.event(corev1.EventTypeNormal, "CARotationStarted", "signer %s is published and will sign from %s",
		next.cert.Subject.CommonName, ca.promoteAfter.Format(time.RFC3339))
}

// rotationStart is the moment from which a fifth of the signer's life is left.
func rotationStart(cert *x509.Certificate) time.Time {
	return cert.NotAfter.Add(-cert.NotAfter.Sub(cert.NotBefore) / 5)
}

func retire(ca *authority, cert *x509.Certificate, now time.Time) {
	ca.retired = append(ca.retired, retiredSigner{cert: cert, until: now.Add(retireTime).UTC().Truncate(time.Second)})
}

// dropRetired forgets signers that no leaf in use can have been signed by.
func dropRetired(ca *authority, now time.Time) {
	kept := ca.retired[:0]
	for _, old := range ca.retired {
		if now.Before(old.until) && now.Before(old.cert.NotAfter) {
			kept = append(kept, old)
		}
	}
	ca.retired = kept
}

// trusted lists the certificates of the bundle: active, next, retired.
func (a *authority) trusted() []*x509.Certificate {
	certs := []*x509.Certificate{a.active.cert}
	if a.next != nil {
		certs = append(certs, a.next.cert)
	}
	for _, old := range a.retired {
		certs = append(certs, old.cert)
	}
	return certs
}

// nextChange is when the next step of the rotation is due.
func (a *authority) nextChange() time.Time {
	if a.foreign {
		return a.active.cert.NotAfter
	}
	at := rotationStart(a.active.cert)
	if a.next != nil {
		at = a.promoteAfter
	}
	for _, old := range a.retired {
		at = earlier(at, old.until)
	}
	return at
}

// secret renders the CA Secret over the existing one, whose foreign labels and keys stay.
func (a *authority) secret(in Input) *corev1.Secret {
	secret := baseSecret(in.CASecret, in.Namespace, CASecretName, corev1.SecretTypeOpaque)
	secret.Data[certKey], secret.Data[privateKey] = a.active.certPEM, a.active.keyPEM
	delete(secret.Data, nextCertKey)
	delete(secret.Data, nextKeyKey)
	delete(secret.Data, previousKey)
	delete(secret.Annotations, promoteAnnotation)
	delete(secret.Annotations, previousAnnotation)
	if a.next != nil {
		secret.Data[nextCertKey], secret.Data[nextKeyKey] = a.next.certPEM, a.next.keyPEM
		secret.Annotations[promoteAnnotation] = a.promoteAfter.Format(time.RFC3339)
	}
	if len(a.retired) > 0 {
		var certs []*x509.Certificate
		var ends []string
		for _, old := range a.retired {
			certs = append(certs, old.cert)
			ends = append(ends, fingerprint(old.cert)+"="+old.until.Format(time.RFC3339))
		}
		sort.Strings(ends)
		secret.Data[previousKey] = encodeCertificates(certs)
		secret.Annotations[previousAnnotation] = strings.Join(ends, ",")
	}
	if a.rotateSeen != "" {
		secret.Annotations[rotateCAAnnotation] = a.rotateSeen
	}
	return secret
}

// published tells whether the bundle that clients can read contains cert.
func published(bundle []byte, cert *x509.Certificate) bool {
	certs, err := parseCertificates(bundle)
	if err != nil {
		return false
	}
	for _, other := range certs {
		if other.Equal(cert) {
			return true
		}
	}
	return false
}

func fingerprint(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	return hex.EncodeToString(sum[:8])
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

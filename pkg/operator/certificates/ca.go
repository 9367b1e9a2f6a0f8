package certificates

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	imageregistryv1 "image.alauda.io/api/imageregistry/v1"
)

// authority is the state of the signers: one signs, at most one is published ahead of its use, and the
// retired ones are still trusted for a while.
type authority struct {
	active, next *pair
	promoteAfter time.Time
	retired      []retiredSigner
	// ended are the fingerprints of those that were retired and are not trusted from now on.
	ended      map[string]bool
	rotateSeen string
	foreign    bool
	// usable is when leaves that still work may be replaced by leaves of the active signer.
	usable time.Time
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
		ca.rotateSeen = rotationMark(in.RotateCA)
	case ca.next == nil:
		startRotation(in, ca, out)
	case !in.Now.Before(ca.promoteAfter) && out.published.has(ca.next.cert) && everywhere(in, ca, out):
		retire(in, ca, ca.active.cert)
		ca.active, ca.next, ca.promoteAfter = ca.next, nil, time.Time{}
		out.event(corev1.EventTypeNormal, "CAPromoted", "signer %s now signs all serving certificates", ca.active.cert.Subject.CommonName)
	}
	dropRetired(ca, in.Now)
	return ca
}

// everywhere tells whether all who got the bundle have the next signer in it. The active one must not run out
// over it: half way to its end, who is behind is left behind.
func everywhere(in Input, ca *authority, out *Result) bool {
	late := ca.active.cert.NotAfter.Add(-ca.active.cert.NotAfter.Sub(rotationStart(ca.active.cert)) / 2)
	if !in.Now.Before(late) {
		return true
	}
	out.checkAt(late, in.Now)
	for _, where := range slices.Sorted(maps.Keys(in.Trusted)) {
		if !contains(certificatesIn(in.Trusted[where]), ca.next.cert) {
			out.event(corev1.EventTypeWarning, "CARotationWaiting", "signer %s does not sign yet: %s does not trust it", ca.next.cert.Subject.CommonName, where)
			return false
		}
	}
	return true
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
			if certs := certificatesIn(secret.Data[certKey]); len(certs) > 0 && certs[0].IsCA {
				retire(in, ca, certs[0])
			}
		case validAt(signer.cert, in.Now) != nil:
			reason = "the certification authority expired"
			if in.Now.Before(signer.cert.NotBefore) {
				reason = "the certification authority is not valid yet"
			}
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
	signer, err := newSigner(in.Now, in.Lifetimes.CA)
	if err != nil {
		out.problem(imageregistryv1.ReasonInvalidServingCertificate, "create certification authority: %v", err)
		return nil, false
	}
	ca.active = signer
	out.event(corev1.EventTypeNormal, "CertificateIssued", "created certification authority %s: %s", signer.cert.Subject.CommonName, reason)
	return ca, true
}

// readNext takes over the published next signer. A damaged one, or one that is not valid, is dropped: a
// rotation that is still wanted starts again. A time of promotion that a clock wrote which was ahead, or longer
// lifetimes, is brought forward.
func readNext(in Input, ca *authority) {
	data := in.CASecret.Data
	next, err := parseSigner(data[nextCertKey], data[nextKeyKey])
	if err != nil || validAt(next.cert, in.Now) != nil || slices.Equal(data[nextCertKey], data[certKey]) {
		return
	}
	ca.next = next
	latest := whole(in.Now.Add(in.Lifetimes.Promote))
	ca.promoteAfter, err = time.Parse(time.RFC3339, in.CASecret.Annotations[promoteAnnotation])
	if err != nil || ca.promoteAfter.After(latest) {
		ca.promoteAfter = latest
	}
}

// readRetired takes over the retired signers. One without a readable end stays for a full term from now.
func readRetired(in Input, ca *authority) {
	until := readTimes(in.CASecret.Annotations[previousAnnotation])
	latest := whole(in.Now.Add(max(in.Lifetimes.retire(), DefaultLifetimes().retire())))
	certs := certificatesIn(in.CASecret.Data[previousKey])
	for _, cert := range certs[:min(len(certs), mostRetired)] {
		at, known := until[fingerprint(cert)]
		if !known || at.After(latest) {
			at = whole(in.Now.Add(in.Lifetimes.retire()))
		}
		ca.retired = append(ca.retired, retiredSigner{cert: cert, until: at})
	}
}

// startRotation publishes a next signer when the active one nears its end or the administrator asks.
func startRotation(in Input, ca *authority, out *Result) {
	mark := rotationMark(in.RotateCA)
	asked := mark != "" && mark != ca.rotateSeen
	due := !in.Now.Before(rotationStart(ca.active.cert))
	if !asked && !due {
		return
	}
	if !due && len(ca.retired) >= maxRetired {
		out.event(corev1.EventTypeWarning, "CARotationWaiting", "no further signer is made while %d earlier ones are still trusted", len(ca.retired))
		return
	}
	next, err := newSigner(in.Now, in.Lifetimes.CA)
	if err != nil {
		out.problem(imageregistryv1.ReasonInvalidServingCertificate, "create next certification authority: %v", err)
		return
	}
	ca.next = next
	// A signer that has less left than the wait gives half of it.
	wait := min(in.Lifetimes.Promote, ca.active.cert.NotAfter.Sub(in.Now)/2)
	ca.promoteAfter = whole(in.Now.Add(wait))
	if asked {
		ca.rotateSeen = mark
	}
	out.event(corev1.EventTypeNormal, "CARotationStarted", "signer %s is published and will sign from %s",
		next.cert.Subject.CommonName, ca.promoteAfter.Format(time.RFC3339))
}

// rotationStart is the moment from which a fifth of the signer's life is left.
func rotationStart(cert *x509.Certificate) time.Time {
	return cert.NotAfter.Add(-cert.NotAfter.Sub(cert.NotBefore) / 5)
}

func retire(in Input, ca *authority, cert *x509.Certificate) {
	ca.retired = append(ca.retired, retiredSigner{cert: cert, until: whole(in.Now.Add(in.Lifetimes.retire()))})
}

// dropRetired forgets signers that no leaf in use can have been signed by.
func dropRetired(ca *authority, now time.Time) {
	ca.ended = map[string]bool{}
	kept := ca.retired[:0]
	for _, old := range ca.retired {
		if now.Before(old.until) && now.Before(old.cert.NotAfter) {
			kept = append(kept, old)
		} else {
			ca.ended[fingerprint(old.cert)] = true
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
		ends := map[string]time.Time{}
		for _, old := range a.retired {
			certs = append(certs, old.cert)
			ends[fingerprint(old.cert)] = old.until
		}
		secret.Data[previousKey] = encodeCertificates(certs)
		secret.Annotations[previousAnnotation] = writeTimes(ends)
	}
	if a.rotateSeen != "" {
		secret.Annotations[rotateCAAnnotation] = a.rotateSeen
	}
	return secret
}

// rotationMark is what is remembered of the value of a rotation annotation: a long one by its digest, because
// all annotations of an object share 256 KiB.
func rotationMark(value string) string {
	if len(value) <= 64 {
		return value
	}
	sum := sha256.Sum256([]byte(value))
	return "sha256:" + hex.EncodeToString(sum[:])
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

package signature

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	imagev1 "image.alauda.io/api/image/v1"
)

// ReasonVerified is the reason of the conditions of a trusted signature.
const ReasonVerified = "manually verified"

// Verifiable tells whether the package knows the type of the signature; others are left alone.
func Verifiable(signature *imagev1.ImageSignature) bool {
	return signature.Type == imagev1.ImageSignatureTypeAtomicImageV1 || signature.Type == "atomic"
}

// Record writes a finding into the signature, in the name of the user. Type and content stay, whatever the
// finding is: a signature is evidence, and another key may verify it tomorrow.
func Record(signature *imagev1.ImageSignature, finding Finding, user string, now time.Time) {
	signature.ImageIdentity, signature.SignedClaims, signature.IssuedBy, signature.IssuedTo = "", nil, nil, nil
	trusted := imagev1.SignatureCondition{Type: imagev1.SignatureTrusted, Status: corev1.ConditionFalse, Reason: finding.Reason, Message: finding.Message}
	about := imagev1.SignatureCondition{Type: imagev1.SignatureForImage, Status: corev1.ConditionUnknown, Reason: finding.Reason, Message: finding.Message}
	switch {
	case finding.Trusted:
		trusted.Status, trusted.Reason, trusted.Message = corev1.ConditionTrue, ReasonVerified, "verified by user "+user+" as "+finding.Identity
		about.Status, about.Reason, about.Message = corev1.ConditionTrue, ReasonVerified, ""
		signature.ImageIdentity = finding.Identity
		signature.IssuedBy = &imagev1.SignatureIssuer{SignatureGenericEntity: imagev1.SignatureGenericEntity{CommonName: finding.KeyID}}
		created := metav1.NewTime(finding.Signed.UTC())
		signature.Created = &created
	case finding.Read && finding.ForImage:
		about.Status, about.Reason, about.Message = corev1.ConditionTrue, "SignedDigest", ""
	case finding.Read:
		about.Status = corev1.ConditionFalse
	}
	if !finding.Trusted {
		trusted.Message += "; verified by user " + user
	}
	signature.Conditions = set(set(signature.Conditions, trusted, now), about, now)
}

// Forget removes what verifications have recorded.
func Forget(signature *imagev1.ImageSignature) {
	signature.Conditions = nil
	signature.ImageIdentity, signature.SignedClaims, signature.IssuedBy, signature.IssuedTo, signature.Created = "", nil, nil, nil, nil
}

// set replaces the condition of a type, and keeps since when its status holds.
func set(conditions []imagev1.SignatureCondition, wanted imagev1.SignatureCondition, now time.Time) []imagev1.SignatureCondition {
	at := metav1.NewTime(now.UTC().Truncate(time.Second))
	wanted.LastProbeTime, wanted.LastTransitionTime = at, at
	kept := make([]imagev1.SignatureCondition, 0, len(conditions)+1)
	for _, condition := range conditions {
		if condition.Type != wanted.Type {
			kept = append(kept, condition)
		} else if condition.Status == wanted.Status {
			wanted.LastTransitionTime = condition.LastTransitionTime
		}
	}
	return append(kept, wanted)
}

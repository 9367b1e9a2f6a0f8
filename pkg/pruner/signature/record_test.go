package signature

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	imagev1 "image.alauda.io/api/image/v1"
)

// status renders the conditions of a signature as Trusted and ForImage.
func status(t *testing.T, signature *imagev1.ImageSignature) (trusted, about imagev1.SignatureCondition) {
	t.Helper()
	if len(signature.Conditions) != 2 {
		t.Fatalf("conditions %+v, want two", signature.Conditions)
	}
	for _, condition := range signature.Conditions {
		switch condition.Type {
		case imagev1.SignatureTrusted:
			trusted = condition
		case imagev1.SignatureForImage:
			about = condition
		}
	}
	return trusted, about
}

// Behaviour 66.
func TestRecordKeepsTheSignature(t *testing.T) {
	signature := &imagev1.ImageSignature{ObjectMeta: metav1.ObjectMeta{Name: "x@y"}, Type: "atomic", Content: []byte("content")}
	good := Finding{Trusted: true, Read: true, ForImage: true, KeyID: "0123456789ABCDEF", Identity: identity, Signed: now}
	Record(signature, good, "auditor", now)
	trusted, about := status(t, signature)
	if trusted.Status != corev1.ConditionTrue || trusted.Reason != "manually verified" || trusted.Message != "verified by user auditor as "+identity || about.Status != corev1.ConditionTrue {
		t.Errorf("conditions %+v", signature.Conditions)
	}
	if signature.IssuedBy.CommonName != good.KeyID || signature.ImageIdentity != identity {
		t.Errorf("signature %+v, want the key and the identity", signature)
	}

	later := now.Add(time.Hour)
	Record(signature, good, "auditor", later)
	if trusted, _ = status(t, signature); !trusted.LastProbeTime.Time.Equal(later) || !trusted.LastTransitionTime.Time.Equal(now) {
		t.Errorf("verified again: %+v, want the transition of before", trusted)
	}

	for _, test := range []struct {
		finding Finding
		about   corev1.ConditionStatus
	}{
		{Finding{Reason: ReasonUnknownKey, Message: "no given key"}, corev1.ConditionUnknown},
		{Finding{Reason: ReasonWrongDigest, Message: "other", Read: true}, corev1.ConditionFalse},
		{Finding{Reason: ReasonWrongIdentity, Message: "other", Read: true, ForImage: true}, corev1.ConditionTrue},
	} {
		Record(signature, test.finding, "auditor", later)
		trusted, about = status(t, signature)
		if trusted.Status != corev1.ConditionFalse || trusted.Reason != test.finding.Reason || about.Status != test.about {
			t.Errorf("%+v: conditions %+v", test.finding, signature.Conditions)
		}
		if string(signature.Content) != "content" || signature.Name != "x@y" || signature.IssuedBy != nil || signature.ImageIdentity != "" {
			t.Errorf("%+v: signature %+v, want it stored and without claims", test.finding, signature)
		}
	}
	Forget(signature)
	if len(signature.Conditions) != 0 || string(signature.Content) != "content" {
		t.Errorf("signature %+v, want it stored without conditions", signature)
	}
}

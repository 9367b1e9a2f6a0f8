package certificates

import (
	"crypto/x509"
	"fmt"
	"maps"
	"reflect"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Input is everything that decides about certificates.
type Input struct {
	Now           time.Time
	Namespace     string
	ClusterDomain string
	// Serving: Config is Managed or Unmanaged, so every certificate exists. Otherwise only the authority
	// and the operator's own certificate do.
	Serving bool
	// ServicesComing: a Service that does not exist is about to be created.
	ServicesComing bool
	// RotateCA and RotateServing are the values of the rotation annotations on Config; empty means none.
	RotateCA      string
	RotateServing string
	// CASecret and Leaves are the live Secrets; a missing one is nil.
	CASecret *corev1.Secret
	Leaves   map[string]*corev1.Secret
	// ClusterIPs holds the addresses of each Service that exists, by name.
	ClusterIPs map[string][]string
	// PublishedBundle is the bundle as clients can read it now.
	PublishedBundle []byte
}

// Result is what the input asks for.
type Result struct {
	// CA is the wanted CA Secret; nil if it was supplied by the administrator or cannot be made.
	CA *corev1.Secret
	// Bundle is the wanted trust bundle in PEM; empty if there is no authority.
	Bundle []byte
	Leaves []LeafResult
	// NextCheck is when the decision changes without any event, at most an hour ahead.
	NextCheck time.Time
	Events    []Event
	Problems  []Problem
	// Certificates lists the authority and the serving certificates with their ends.
	Certificates []Certificate
}

// Event is one thing to tell the administrator about.
type Event struct {
	Type    string
	Reason  string
	Message string
}

// Problem is a state that only the administrator can mend; it belongs into a Degraded condition.
type Problem struct {
	Reason  string
	Message string
}

// Certificate is the end of life of one certificate.
type Certificate struct {
	// Name is the name of the Secret that holds it.
	Name     string
	NotAfter time.Time
}

// Decide says which Secrets and which bundle are wanted. It draws keys but changes nothing.
func Decide(in Input) Result {
	out := Result{NextCheck: in.Now.Add(checkInterval)}
	ca := decideAuthority(in, &out)
	if ca != nil {
		out.Bundle = encodeCertificates(append(ca.trusted(), suppliedRoots(in)...))
		out.Certificates = append(out.Certificates, Certificate{Name: CASecretName, NotAfter: ca.active.cert.NotAfter})
		out.checkAt(ca.nextChange(), in.Now)
		if !ca.foreign {
			out.CA = ca.secret(in)
		}
	}
	for _, spec := range leafSpecs() {
		leaf := decideLeaf(in, spec, ca, out.Bundle, &out)
		out.Leaves = append(out.Leaves, leaf)
		if leaf.cert != nil {
			out.Certificates = append(out.Certificates, Certificate{Name: leaf.Name, NotAfter: leaf.cert.NotAfter})
			out.checkAt(renewalTime(leaf.cert), in.Now)
		}
	}
	return out
}

// suppliedRoots are the authorities of supplied serving Secrets: clients of the bundle meet their leaves.
func suppliedRoots(in Input) []*x509.Certificate {
	var roots []*x509.Certificate
	for _, spec := range leafSpecs() {
		live := in.Leaves[spec.secret]
		if live == nil || owned(live) {
			continue
		}
		certs, err := parseCertificates(live.Data[leafCAKey])
		if err != nil {
			continue
		}
		for _, cert := range certs {
			if in.Now.Before(cert.NotAfter) {
				roots = append(roots, cert)
			}
		}
	}
	return roots
}

func (r *Result) event(eventType, reason, format string, args ...any) {
	r.Events = append(r.Events, Event{Type: eventType, Reason: reason, Message: fmt.Sprintf(format, args...)})
}

func (r *Result) problem(reason, format string, args ...any) {
	r.Problems = append(r.Problems, Problem{Reason: reason, Message: fmt.Sprintf(format, args...)})
}

// checkAt brings the next check forward to at. A moment that has passed was acted upon already.
func (r *Result) checkAt(at, now time.Time) {
	if at.After(now) {
		r.NextCheck = earlier(r.NextCheck, at)
	}
}

// baseSecret starts from the live Secret, so that foreign labels, annotations and keys stay, and adds
// what every Secret of this package carries.
func baseSecret(live *corev1.Secret, namespace, name string, secretType corev1.SecretType) *corev1.Secret {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Type: secretType}
	if live != nil {
		secret = live.DeepCopy()
	}
	if secret.Data == nil {
		secret.Data = map[string][]byte{}
	}
	setMeta(&secret.ObjectMeta, name)
	return secret
}

func setMeta(meta *metav1.ObjectMeta, name string) {
	if meta.Labels == nil {
		meta.Labels = map[string]string{}
	}
	if meta.Annotations == nil {
		meta.Annotations = map[string]string{}
	}
	maps.Copy(meta.Labels, labels(name))
	meta.Annotations[ownedAnnotation] = "true"
}

func owned(secret *corev1.Secret) bool {
	return secret.Annotations[ownedAnnotation] == "true"
}

// sameSecret compares what this package writes.
func sameSecret(a, b *corev1.Secret) bool {
	return reflect.DeepEqual(a.Data, b.Data) &&
		maps.Equal(a.Labels, b.Labels) && maps.Equal(a.Annotations, b.Annotations)
}

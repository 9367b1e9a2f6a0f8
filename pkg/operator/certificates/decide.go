package certificates

import (
	"crypto/x509"
	"fmt"
	"maps"
	"reflect"
	"slices"
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
	// Routes are the certificates of exposed hosts.
	Routes []leafSpec
	// ClusterIPs holds the addresses of each Service that exists, by name.
	ClusterIPs map[string][]string
	// Published is the ConfigMap with the bundle as clients can read it now; nil if it does not exist.
	Published *corev1.ConfigMap
	// Trusted is the PEM that those trust who get the bundle through another object, by the name of the object.
	Trusted map[string][]byte
	// Lifetimes are the defaults if they are zero.
	Lifetimes Lifetimes
}

// Result is what the input asks for.
type Result struct {
	// CA is the wanted CA Secret; nil if it was supplied by the administrator or cannot be made.
	CA *corev1.Secret
	// Bundle is the wanted trust bundle in PEM; empty if there is no authority.
	Bundle []byte
	// BundleNotes are the annotations of the bundle's ConfigMap; an empty one is to be removed.
	BundleNotes map[string]string
	Leaves      []LeafResult
	// NextCheck is when the decision changes without any event, at most an hour ahead.
	NextCheck time.Time
	Events    []Event
	Problems  []Problem
	// Certificates lists the authority and the serving certificates with their ends.
	Certificates []Certificate

	published publication
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
	if in.Lifetimes == (Lifetimes{}) {
		in.Lifetimes = DefaultLifetimes()
	}
	out := Result{NextCheck: in.Now.Add(checkInterval), published: readPublication(in)}
	roots := suppliedRoots(in, &out)
	ca := decideAuthority(in, &out)
	var trusted []*x509.Certificate
	if ca != nil {
		next := out.published.next(in, append(ca.trusted(), roots...), ca.ended)
		trusted, out.Bundle, out.BundleNotes = next.certs, next.pem, next.notes
		ca.usable = out.published.knownSince(ca.active.cert, in.Now).Add(in.Lifetimes.settle())
		out.Certificates = append(out.Certificates, Certificate{Name: CASecretName, NotAfter: ca.active.cert.NotAfter})
		out.checkAt(ca.nextChange(), in.Now)
		out.checkAt(next.changes, in.Now)
		if !ca.foreign {
			out.CA = ca.secret(in)
		}
	} else if len(out.published.certs) == 0 {
		// Nobody can sign, and the bundle is lost, too: the serving Secrets remember it.
		next := out.published.next(in, append(remembered(in), roots...), nil)
		trusted, out.Bundle, out.BundleNotes = next.certs, next.pem, next.notes
	}
	for _, spec := range in.specs() {
		leaf := decideLeaf(in, spec, ca, trusted, &out)
		out.Leaves = append(out.Leaves, leaf)
		if leaf.cert != nil {
			out.Certificates = append(out.Certificates, Certificate{Name: leaf.Name, NotAfter: leaf.cert.NotAfter})
			out.checkAt(renewalTime(leaf.cert), in.Now)
		}
	}
	return out
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

// ownKeys are the keys that this package may write into a Secret.
var ownKeys = []string{certKey, privateKey, leafCAKey, nextCertKey, nextKeyKey, previousKey}

// ownAnnotations are the annotations that this package may write on a Secret.
var ownAnnotations = []string{ownedAnnotation, rotateCAAnnotation, rotateLeaf, promoteAnnotation, previousAnnotation}

// baseSecret starts from the live Secret, so that foreign labels, annotations and keys stay, and adds what
// every Secret of this package carries. Foreign content that would take the room of the own is dropped.
func baseSecret(live *corev1.Secret, namespace, name string, secretType corev1.SecretType) *corev1.Secret {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Type: secretType}
	if live != nil {
		secret = live.DeepCopy()
		secret.Immutable = nil
	}
	if secret.Data == nil {
		secret.Data = map[string][]byte{}
	}
	dropForeign(secret.Data, ownKeys, maxForeignData)
	dropForeign(secret.Annotations, ownAnnotations, maxForeignAnnotations)
	setMeta(&secret.ObjectMeta, name)
	return secret
}

// dropForeign removes all entries but the own ones when those of others are larger than most.
func dropForeign[V ~string | ~[]byte](entries map[string]V, own []string, most int) {
	size := 0
	for key, value := range entries {
		if !slices.Contains(own, key) {
			size += len(key) + len(value)
		}
	}
	if size > most {
		maps.DeleteFunc(entries, func(key string, _ V) bool { return !slices.Contains(own, key) })
	}
}

// recreated is the secret for a create after the live one was deleted.
func recreated(secret *corev1.Secret) *corev1.Secret {
	fresh := secret.DeepCopy()
	fresh.ObjectMeta = metav1.ObjectMeta{
		Namespace: secret.Namespace, Name: secret.Name, Labels: fresh.Labels, Annotations: fresh.Annotations,
	}
	return fresh
}

// unchangeable tells of an object that the API server lets nobody update.
func unchangeable(immutable *bool) bool { return immutable != nil && *immutable }

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

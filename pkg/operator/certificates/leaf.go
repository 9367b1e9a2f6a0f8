package certificates

import (
	"crypto/x509"
	"fmt"
	"net"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	imageregistryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/ingress"
)

// leafSpec names a serving certificate and what it is for.
type leafSpec struct {
	secret  string
	service string
	// always: the certificate exists in every state of Config.
	always bool
	// addresses: the cluster IPs of the Service belong into the certificate.
	addresses bool
	loopback  bool
	extraDNS  func(namespace string) []string
	// host is the external host of a route, the only name of its certificate.
	host string
	// obsolete: the Secret belongs to a route that is gone.
	obsolete bool
}

// leafSpecs is the table of serving certificates.
func leafSpecs() []leafSpec {
	return []leafSpec{
		{secret: RegistrySecretName, service: registryService, addresses: true, loopback: true},
		{secret: APIServerSecretName, service: apiServerService, addresses: true,
			extraDNS: func(ns string) []string { return []string{webhookService + "." + ns + ".svc"} }},
		{secret: OperatorSecretName, service: operatorService, always: true},
	}
}

// names returns what the leaf must be valid for. known tells whether the addresses are: a Service that
// does not exist has none yet, or had some that the certificate may keep.
func (s leafSpec) names(in Input) (names sans, known bool) {
	if s.host != "" {
		return sans{dns: []string{s.host}}, true
	}
	base := s.service
	names.dns = []string{
		base,
		base + "." + in.Namespace,
		base + "." + in.Namespace + ".svc",
		base + "." + in.Namespace + ".svc." + in.ClusterDomain,
		"localhost",
	}
	if s.extraDNS != nil {
		names.dns = append(names.dns, s.extraDNS(in.Namespace)...)
	}
	known = true
	if s.addresses {
		var addresses []string
		addresses, known = in.ClusterIPs[s.service]
		for _, text := range addresses {
			if ip := net.ParseIP(text); ip != nil {
				names.ips = append(names.ips, ip)
			}
		}
	}
	if s.loopback {
		names.ips = append(names.ips, net.IPv4(127, 0, 0, 1), net.IPv6loopback)
	}
	return names, known
}

// generated says whether the operator made the Secret, and may renew and delete it. Of the fixed ones the annotation
// is enough, so that a backup of them goes on; those of routes stand among Secrets of other people.
func (s leafSpec) generated(live *corev1.Secret) bool {
	if isRouteSecret(s.secret) {
		return ingress.Generated(live)
	}
	return owned(live)
}

// Action is what is to be done with one serving Secret.
type Action string

// The actions of a LeafResult.
const (
	// Keep: the Secret is as wanted, or supplied by the administrator.
	Keep Action = "Keep"
	// Write: LeafResult.Secret is to be created or updated.
	Write Action = "Write"
	// Replace: the live Secret cannot be changed, because of its type or as immutable; delete it, then create.
	Replace Action = "Replace"
	// Delete: nothing serves with the certificate any more.
	Delete Action = "Delete"
)

// LeafResult is the decision about one serving Secret.
type LeafResult struct {
	Name   string
	Action Action
	// Reason says why, in words for an event and the log.
	Reason string
	Secret *corev1.Secret
	cert   *x509.Certificate
}

// decideLeaf decides about the Secret of spec. The bundle, whose certificates are trusted, goes into the Secret
// beside the pair.
func decideLeaf(in Input, spec leafSpec, ca *authority, trusted []*x509.Certificate, out *Result) LeafResult {
	live := in.Leaves[spec.secret]
	result := LeafResult{Name: spec.secret, Action: Keep}
	if live != nil && !spec.generated(live) {
		result.cert = inspectSupplied(in, spec, live, trusted, out)
		return result
	}
	if spec.obsolete {
		if live != nil {
			result.Action, result.Reason = Delete, "its route is gone"
		}
		return result
	}
	_, serviceExists := in.ClusterIPs[spec.service]
	if !spec.always && !in.Serving {
		// The Service goes after the Deployment: until then Pods may still mount the Secret.
		if live != nil && !serviceExists {
			result.Action, result.Reason = Delete, "the registry was removed"
		}
		return result
	}
	if ca == nil {
		return result
	}
	if live == nil && spec.addresses && !serviceExists && in.ServicesComing {
		// Issued now it would be issued again in a moment, with the addresses of the Service.
		return result
	}

	names, known := spec.names(in)
	current, reason := staleReason(in, spec, live, trusted, names, known)
	if reason == "" {
		reason = renewReason(in, live, current, ca, out)
	}
	if reason == "" {
		return refreshBundle(live, current, out.Bundle, result)
	}
	leaf, err := newLeaf(ca.active, names, in.Now, in.Lifetimes.Leaf)
	if err == nil && !verifies(leaf, []*x509.Certificate{ca.active.cert}, in.Now) {
		err = fmt.Errorf("a certificate for %s by the signer of Secret %s is valid for no client; look at its name constraints and usages", names.dns[0], CASecretName)
	}
	if err != nil {
		out.problem(imageregistryv1.ReasonInvalidServingCertificate, "issue %s: %v", spec.secret, err)
		return result
	}
	result.Action, result.Reason, result.cert = Write, reason, leaf.cert
	result.Secret = leafSecret(in, spec, live, leaf, ca, out.Bundle)
	if live != nil && (live.Type != corev1.SecretTypeTLS || unchangeable(live.Immutable)) {
		result.Action, result.Secret = Replace, recreated(result.Secret)
		result.Secret.Type = corev1.SecretTypeTLS
	}
	out.event(corev1.EventTypeNormal, "CertificateIssued", "issued %s, valid until %s: %s",
		spec.secret, leaf.cert.NotAfter.UTC().Format(time.RFC3339), reason)
	return result
}

// leafSecret puts a new pair into the Secret.
func leafSecret(in Input, spec leafSpec, live *corev1.Secret, leaf *pair, ca *authority, bundle []byte) *corev1.Secret {
	secret := baseSecret(live, in.Namespace, spec.secret, corev1.SecretTypeTLS)
	secret.Data[certKey] = append(slices.Clone(leaf.certPEM), encodeCertificates([]*x509.Certificate{ca.active.cert})...)
	secret.Data[privateKey] = leaf.keyPEM
	secret.Data[leafCAKey] = bundle
	if mark := rotationMark(in.RotateServing); mark != "" {
		secret.Annotations[rotateLeaf] = mark
	}
	return secret
}

// refreshBundle keeps the pair of a Secret and brings only the trust bundle beside it up to date.
func refreshBundle(live *corev1.Secret, current *pair, bundle []byte, result LeafResult) LeafResult {
	result.cert = current.cert
	wanted := baseSecret(live, live.Namespace, live.Name, live.Type)
	wanted.Data[leafCAKey] = bundle
	if !sameSecret(live, wanted) {
		result.Action, result.Reason, result.Secret = Write, "the trust bundle changed", wanted
		if unchangeable(live.Immutable) {
			result.Action, result.Secret = Replace, recreated(wanted)
		}
	}
	return result
}

// staleReason is the chain of reasons for which a leaf does not work any more, the first that applies. Such a
// leaf is issued anew at once. An empty reason means that current works.
func staleReason(in Input, spec leafSpec, live *corev1.Secret, trusted []*x509.Certificate, names sans, known bool) (current *pair, reason string) {
	if live == nil {
		return nil, "it did not exist"
	}
	if live.Type != corev1.SecretTypeTLS {
		return nil, fmt.Sprintf("its type was %s", live.Type)
	}
	current, err := parsePair(live.Data[certKey], live.Data[privateKey])
	if err != nil {
		return nil, "it was damaged"
	}
	switch {
	case in.Now.Before(current.cert.NotBefore):
		return nil, "it was not valid yet"
	case in.Now.After(current.cert.NotAfter):
		return nil, "it had expired"
	case !verifies(current, trusted, in.Now):
		return nil, "its issuer is not trusted"
	case !sameNames(current.cert, names, known):
		return nil, "the names or addresses of the Service changed"
	}
	return current, ""
}

// renewReason is the chain of reasons to replace a leaf that works. Another signer than that of the leaf waits
// until running clients know it: it was published ahead of its use, unless it had to replace a lost one.
func renewReason(in Input, live *corev1.Secret, current *pair, ca *authority, out *Result) string {
	mark := rotationMark(in.RotateServing)
	switch {
	case !signedBy(current.cert, ca.active.cert):
		if in.Now.Before(ca.usable) {
			out.checkAt(ca.usable, in.Now)
			return ""
		}
		return "its issuer does not sign any more"
	case !in.Now.Before(renewalTime(current.cert)) && current.cert.NotAfter.Before(ca.active.cert.NotAfter):
		return "one third of its life was left"
	case mark != "" && live.Annotations[rotateLeaf] != mark:
		return "its rotation was asked for"
	}
	return ""
}

// renewalTime is the moment from which a third of the life of a leaf is left.
func renewalTime(cert *x509.Certificate) time.Time {
	return cert.NotAfter.Add(-cert.NotAfter.Sub(cert.NotBefore) / 3)
}

// sameNames compares as sets. While the addresses of the Service are unknown, those in the certificate
// are not held against it.
func sameNames(cert *x509.Certificate, names sans, addressesKnown bool) bool {
	if !slices.Equal(sortedUnique(cert.DNSNames), sortedUnique(names.dns)) {
		return false
	}
	have, want := addressTexts(cert.IPAddresses), addressTexts(names.ips)
	if addressesKnown {
		return slices.Equal(have, want)
	}
	for _, address := range want {
		if !slices.Contains(have, address) {
			return false
		}
	}
	return true
}

func addressTexts(ips []net.IP) []string {
	texts := make([]string, 0, len(ips))
	for _, ip := range ips {
		texts = append(texts, ip.String())
	}
	return sortedUnique(texts)
}

func sortedUnique(texts []string) []string {
	sorted := slices.Clone(texts)
	slices.Sort(sorted)
	return slices.Compact(sorted)
}

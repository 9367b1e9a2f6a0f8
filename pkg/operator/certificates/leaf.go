package certificates

import (
	"crypto/x509"
	"fmt"
	"net"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
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

// Action is what is to be done with one serving Secret.
type Action string

// The actions of a LeafResult.
const (
	// Keep: the Secret is as wanted, or supplied by the administrator.
	Keep Action = "Keep"
	// Write: LeafResult.Secret is to be created or updated.
	Write Action = "Write"
	// Replace: the live Secret has the wrong type, which cannot be changed; delete it, then create.
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

// decideLeaf decides about the Secret of spec. The bundle goes into the Secret beside the pair.
func decideLeaf(in Input, spec leafSpec, ca *authority, bundle []byte, out *Result) LeafResult {
	live := in.Leaves[spec.secret]
	result := LeafResult{Name: spec.secret, Action: Keep}
	if live != nil && !owned(live) {
		result.cert = inspectSupplied(in, spec, live, out)
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
	current, reason := staleReason(in, spec, live, ca, names, known)
	if reason == "" {
		return refreshBundle(live, current, bundle, result)
	}
	leaf, err := newLeaf(ca.active, names, in.Now)
	if err != nil {
		out.problem("InvalidServingCertificate", "issue %s: %v", spec.secret, err)
		return result
	}
	result.Action, result.Reason, result.cert = Write, reason, leaf.cert
	if live != nil && live.Type != corev1.SecretTypeTLS {
		result.Action = Replace
		live = nil
	}
	result.Secret = baseSecret(live, in.Namespace, spec.secret, corev1.SecretTypeTLS)
	result.Secret.Data[certKey] = append(slices.Clone(leaf.certPEM), encodeCertificates([]*x509.Certificate{ca.active.cert})...)
	result.Secret.Data[privateKey] = leaf.keyPEM
	result.Secret.Data[leafCAKey] = bundle
	if in.RotateServing != "" {
		result.Secret.Annotations[rotateLeaf] = in.RotateServing
	}
	out.event(corev1.EventTypeNormal, "CertificateIssued", "issued %s, valid until %s: %s",
		spec.secret, leaf.cert.NotAfter.UTC().Format(time.RFC3339), reason)
	return result
}

// refreshBundle keeps the pair of a Secret and brings only the trust bundle beside it up to date.
func refreshBundle(live *corev1.Secret, current *pair, bundle []byte, result LeafResult) LeafResult {
	result.cert = current.cert
	wanted := baseSecret(live, live.Namespace, live.Name, live.Type)
	wanted.Data[leafCAKey] = bundle
	if !sameSecret(live, wanted) {
		result.Action, result.Reason, result.Secret = Write, "the trust bundle changed", wanted
	}
	return result
}

// staleReason is the chain of reasons for which a leaf is issued anew, the first that applies. An empty
// reason means that current is good.
func staleReason(in Input, spec leafSpec, live *corev1.Secret, ca *authority, names sans, known bool) (current *pair, reason string) {
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
	case !signedBy(current.cert, ca.active.cert):
		return nil, "its issuer does not sign any more"
	case !sameNames(current.cert, names, known):
		return nil, "the names or addresses of the Service changed"
	case !in.Now.Before(renewalTime(current.cert)) && current.cert.NotAfter.Before(ca.active.cert.NotAfter):
		return nil, "one third of its life was left"
	case in.RotateServing != "" && live.Annotations[rotateLeaf] != in.RotateServing:
		return nil, "its rotation was asked for"
	}
	return current, ""
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

// inspectSupplied reports about a Secret of the administrator without ever changing it.
func inspectSupplied(in Input, spec leafSpec, live *corev1.Secret, out *Result) *x509.Certificate {
	supplied, err := parsePair(live.Data[certKey], live.Data[privateKey])
	if err != nil {
		out.problem("InvalidServingCertificate", "supplied Secret %s has no usable certificate and key: %v", spec.secret, err)
		return nil
	}
	host := spec.service + "." + in.Namespace + ".svc"
	if err := supplied.cert.VerifyHostname(host); err != nil {
		out.problem("InvalidServingCertificate", "supplied Secret %s is not valid for %s", spec.secret, host)
	}
	if !in.Now.Before(supplied.cert.NotAfter.Add(-expiryWarning)) {
		out.event(corev1.EventTypeWarning, "ServingCertificateExpiring", "supplied Secret %s is valid until %s and is not renewed by the operator",
			spec.secret, supplied.cert.NotAfter.UTC().Format(time.RFC3339))
	}
	return supplied.cert
}

package ingress

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	registryv1 "image.alauda.io/api/imageregistry/v1"
)

const (
	// MarkAnnotation on an Ingress proves that its host was generated for the inputs of the time. While they
	// stay the same, the host stays, too, whatever a later version would generate.
	MarkAnnotation = registryv1.Prefix + "generated-host"

	maxLabel = validation.DNS1123LabelMaxLength
	maxHost  = validation.DNS1123SubdomainMaxLength
	// digest is the length of the hash that replaces the end of a name that is too long.
	digest = 8
	// shortest is the shortest label that a generated host may begin with: a letter, a hyphen, the hash.
	shortest = digest + 2
)

// Where the domain of generated hosts comes from, as named in messages.
const (
	specDomainSource    = "spec.ingress.domain"
	environmentSource   = "environment variable INGRESS_DOMAIN of the operator"
	clusterDomainSource = "the domain of the cluster; set spec.ingress.domain"
)

// domain is the domain of generated host names.
func (in Input) domain() (domain, source string) {
	switch {
	case in.Spec.Ingress.Domain != "":
		return in.Spec.Ingress.Domain, specDomainSource
	case in.Domain != "":
		return strings.ToLower(strings.Trim(in.Domain, ".")), environmentSource
	default:
		return "apps." + in.ClusterDomain, clusterDomainSource
	}
}

// generated is the host of a route that names none, with its mark.
func (in Input) generated(name, domain string) (host, mark string, err error) {
	if live := in.Live[name]; live != nil && Owned(live) && len(live.Spec.Rules) > 0 {
		chosen := live.Spec.Rules[0].Host
		mark := in.mark(name, domain, chosen)
		if live.Annotations[MarkAnnotation] == mark && CheckHost(chosen, in.Namespace, in.ClusterDomain) == nil {
			return chosen, mark, nil
		}
	}
	host, err = Generate(name, in.Namespace, domain)
	if err == nil {
		err = CheckHost(host, in.Namespace, in.ClusterDomain)
	}
	return host, in.mark(name, domain, host), err
}

// mark binds a host to the inputs that it was generated from: a host that was edited by hand has no mark.
func (in Input) mark(name, domain, host string) string {
	return hash(strings.Join([]string{name, in.Namespace, domain, host}, "\n"))
}

func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])[:2*digest]
}

// Generate makes the host <name>-<namespace>.<domain>. A first label that is too long, or that leaves no room
// for the domain, is cut and ends in a hash, so that two long names do not become one.
func Generate(name, namespace, domain string) (string, error) {
	room := min(maxLabel, maxHost-1-len(domain))
	if room < shortest {
		return "", fmt.Errorf("domain of %d characters leaves no room for a host, %d are possible", len(domain), maxHost-1-shortest)
	}
	label := name + "-" + namespace
	if len(label) > room {
		label = strings.TrimRight(label[:room-digest-1], "-") + "-" + hash(label)[:digest]
	}
	return label + "." + domain, nil
}

// CheckHost says why a text cannot be the external host of the registry.
func CheckHost(host, namespace, clusterDomain string) error {
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return fmt.Errorf("%s is an address; an Ingress needs a host name", host)
	}
	if problems := validation.IsDNS1123Subdomain(host); len(problems) > 0 {
		return fmt.Errorf("%.80q is not a host name of lower case letters, digits, '-' and '.' with at most %d characters", host, maxHost)
	}
	labels := strings.Split(host, ".")
	for _, label := range labels {
		if len(label) > maxLabel {
			return fmt.Errorf("a part of %.80q is longer than %d characters", host, maxLabel)
		}
	}
	if strings.Trim(labels[len(labels)-1], "0123456789") == "" {
		return fmt.Errorf("%s ends in a number; clients take it for an address", host)
	}
	if internal(host, namespace, clusterDomain) {
		return errors.New(host + " is a name inside the cluster; choose one outside")
	}
	return nil
}

// internal says whether nodes and Pods know the name already: a route that took it would lead them, and their
// credentials, elsewhere.
func internal(host, namespace, clusterDomain string) bool {
	base := registryv1.RegistryName + "." + namespace
	switch host {
	case registryv1.RegistryName, base, "svc", "localhost", clusterDomain:
		return true
	}
	for _, suffix := range []string{".svc", ".svc." + clusterDomain, ".localhost"} {
		if strings.HasSuffix(host, suffix) {
			return true
		}
	}
	return false
}

package imagestorage

import (
	"crypto/tls"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/hostcerts"
	"image.alauda.io/registry/pkg/operator/fault"
)

// maxEndpoints is above the size of any etcd.
const maxEndpoints = 16

var (
	prefixes = regexp.MustCompile(`^(/[A-Za-z0-9][A-Za-z0-9._-]*){1,8}$`)
	hosts    = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$`)
)

// wanted is the place that the spec asks for.
func (f Facts) wanted() (Plan, error) {
	switch f.Spec.Type {
	case "", registryv1.ImageStorageCRD:
		return InCluster(), nil
	case registryv1.ImageStorageEtcd:
	default:
		return invalid("type", "is %.80q; set it to CRD or Etcd", string(f.Spec.Type))
	}
	spec := f.Spec.Etcd
	if spec == nil || len(spec.Endpoints) == 0 {
		return invalid("etcd.endpoints", "is empty; list the https URLs of the members of the etcd")
	}
	if len(spec.Endpoints) > maxEndpoints {
		return invalid("etcd.endpoints", "has more than %d URLs", maxEndpoints)
	}
	etcd := &Etcd{Prefix: strings.TrimRight(spec.Prefix, "/"), SecretName: spec.SecretName}
	if etcd.Prefix == "" {
		etcd.Prefix = DefaultPrefix
	}
	for _, endpoint := range spec.Endpoints {
		server, err := serverOf(endpoint)
		if err != nil {
			return invalid("etcd.endpoints", "%v", err)
		}
		etcd.Servers = append(etcd.Servers, server)
	}
	if !prefixes.MatchString(etcd.Prefix) || etcd.Prefix == "/registry" {
		return invalid("etcd.prefix", "is no prefix for the metadata of images; write it as %s (/registry alone is that of a cluster)", DefaultPrefix)
	}
	if err := f.certificates(etcd); err != nil {
		return Plan{}, err
	}
	return Plan{Place: placeOf(etcd.Servers[0], etcd.Prefix), Etcd: etcd}, nil
}

func invalid(field, format string, args ...any) (Plan, error) {
	return Plan{}, fault.Permanentf(registryv1.ReasonImageAPIStorageNotConfigured,
		"spec.imageAPI.storage.%s of Config cluster %s", field, fmt.Sprintf(format, args...))
}

// serverOf is an endpoint as the server is told: scheme, host and port, and nothing besides.
func serverOf(endpoint string) (string, error) {
	address, err := url.Parse(endpoint)
	if err != nil || address.Host == "" {
		return "", fmt.Errorf("holds something that is no URL")
	}
	ip, ipErr := netip.ParseAddr(address.Hostname())
	switch {
	case address.Scheme != "https":
		return "", fmt.Errorf("must use https: without TLS anybody on the way could change who may pull what")
	case address.User != nil || address.RawQuery != "" || address.Fragment != "" || strings.Trim(address.Path, "/") != "":
		return "", fmt.Errorf("must hold scheme, host and port alone; credentials are the certificate in the Secret")
	case badPort(address):
		return "", fmt.Errorf("holds a port that there is not; write 1 to 65535")
	case ipErr != nil && !hosts.MatchString(address.Hostname()), ipErr == nil && (ip.Zone() != "" || ip.IsLinkLocalUnicast()):
		return "", fmt.Errorf("holds a host that cannot be one of an etcd")
	}
	return "https://" + strings.ToLower(address.Host), nil
}

func badPort(address *url.URL) bool {
	text := address.Port()
	port, err := strconv.ParseUint(text, 10, 16)
	return text != "" && (err != nil || port == 0) || text == "" && strings.HasSuffix(address.Host, ":")
}

// certificates takes over the Secret. What cannot work is refused here, before a server is started with it.
func (f Facts) certificates(etcd *Etcd) error {
	if etcd.SecretName == "" {
		_, err := invalid("etcd.secretName", "is empty; name a Secret in namespace %s with the keys ca.crt, tls.crt and tls.key", f.Namespace)
		return err
	}
	wrong := func(format string, args ...any) error {
		_, err := invalid("etcd.secretName", "names Secret %s in namespace %s, %s", etcd.SecretName, f.Namespace, fmt.Sprintf(format, args...))
		return err
	}
	if f.Secret == nil {
		return wrong("which does not exist; create it with the keys ca.crt, tls.crt and tls.key")
	}
	etcd.Secret = map[string][]byte{}
	for _, key := range []string{KeyCA, KeyCertificate, KeyPrivate} {
		if len(f.Secret[key]) == 0 {
			return wrong("which lacks key %s", key)
		}
		etcd.Secret[key] = f.Secret[key]
	}
	if _, err := hostcerts.Normalise(f.Secret[KeyCA], time.Time{}); err != nil {
		return wrong("whose key ca.crt holds no certificates: %v", err)
	}
	if _, err := tls.X509KeyPair(f.Secret[KeyCertificate], f.Secret[KeyPrivate]); err != nil {
		return wrong("whose keys tls.crt and tls.key are no pair of a certificate and its key") // the cause may quote them
	}
	return nil
}

// Hosts are the hosts of the members, without ports: no proxy stands before them.
func (e *Etcd) Hosts() []string {
	if e == nil {
		return nil
	}
	var out []string
	for _, server := range e.Servers {
		if address, err := url.Parse(server); err == nil {
			out = append(out, address.Hostname())
		}
	}
	return out
}

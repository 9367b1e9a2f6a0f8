package pullsecret

import (
	"net"
	"slices"
	"strconv"
	"strings"

	imageregistryv1 "image.alauda.io/api/imageregistry/v1"
)

// HostInput is everything that the registry can be called by.
type HostInput struct {
	// Namespace is the operand namespace, ClusterDomain the DNS suffix of the cluster.
	Namespace, ClusterDomain string
	// ClusterIPs are the addresses of the registry's Service.
	ClusterIPs []string
	// External are hosts of Ingresses, without a port; Additional are taken verbatim.
	External, Additional []string
}

// Hosts lists the keys of the credential, sorted, each one once. IPv6 addresses are left out: they are
// not valid in image references.
func Hosts(in HostInput) []string {
	port := strconv.Itoa(imageregistryv1.RegistryPort)
	service := registryService + "." + in.Namespace + ".svc"
	hosts := []string{
		service + ":" + port,
		service + "." + in.ClusterDomain + ":" + port,
	}
	for _, text := range in.ClusterIPs {
		if ip := net.ParseIP(text); ip != nil && ip.To4() != nil {
			hosts = append(hosts, net.JoinHostPort(ip.String(), port))
		}
	}
	hosts = append(hosts, in.External...)
	hosts = append(hosts, in.Additional...)
	hosts = slices.DeleteFunc(hosts, func(host string) bool { return host == "" })
	slices.Sort(hosts)
	return slices.Compact(hosts)
}

// hostsHash changes when the credential must be written anew although its token is still good.
func hostsHash(hosts []string, audience string) string {
	return sha256Hex([]byte(strings.Join(hosts, "\n") + "\n\n" + audience))
}

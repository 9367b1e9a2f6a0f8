package repository

import (
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// ClusterDomain returns the DNS domain of the cluster as it stands in the
// resolver configuration that kubelet writes for Pods: the search entry
// "svc.<domain>". It is DefaultClusterDomain when there is no such entry, as
// outside of a Pod. As for the resolver, the last search line counts.
func ClusterDomain(resolvConf string) string {
	domain := ""
	for line := range strings.Lines(resolvConf) {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] != "search" {
			continue
		}
		domain = searchedDomain(fields[1:])
	}
	if domain == "" {
		return DefaultClusterDomain
	}
	return domain
}

// searchedDomain is the domain of the first entry "svc.<domain>", or empty.
func searchedDomain(entries []string) string {
	for _, entry := range entries {
		entry = strings.ToLower(strings.TrimSuffix(entry, "."))
		domain, found := strings.CutPrefix(entry, "svc.")
		if found && len(validation.IsDNS1123Subdomain(domain)) == 0 {
			return domain
		}
	}
	return ""
}

package server

import (
	"os"

	"k8s.io/klog/v2"

	"image.alauda.io/registry/pkg/imageapiserver/imagestream/repository"
	"image.alauda.io/registry/pkg/imageapiserver/serverconfig"
)

// hosts returns the names of the registry that are configured at the moment.
func hosts(source *serverconfig.Source, clusterDomain string) repository.HostSource {
	return func() repository.Hosts {
		config := source.Current()
		return repository.Hosts{
			Internal: config.InternalRegistryHostname, External: config.ExternalRegistryHostnames,
			ClusterDomain: clusterDomain,
		}
	}
}

// clusterDomain reads the cluster's domain from a resolver configuration. A file that cannot be read
// gives the usual domain: without it only the longest form of the internal name would be unknown.
func clusterDomain(resolvConf string) string {
	data, err := os.ReadFile(resolvConf)
	if err != nil {
		klog.InfoS("The resolver configuration cannot be read, the cluster has the usual domain", "domain", repository.DefaultClusterDomain, "err", err)
	}
	return repository.ClusterDomain(string(data))
}

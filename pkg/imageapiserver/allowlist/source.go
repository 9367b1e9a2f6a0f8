package allowlist

import (
	"sync/atomic"

	"k8s.io/klog/v2"

	configv1 "image.alauda.io/api/config/v1"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/repository"
)

// Source returns the List in force. It is cheap and safe for concurrent use.
// A nil List allows everything.
type Source func() *List

// NewSource makes one List per configuration. The configurations that current
// returns are never modified; a changed one is another one.
func NewSource(current func() *configv1.ImageAPIServerConfig, hosts repository.HostSource) Source {
	type snapshot struct {
		config *configv1.ImageAPIServerConfig
		list   *List
	}
	var last atomic.Pointer[snapshot]
	return func() *List {
		config := current()
		if known := last.Load(); known != nil && known.config == config {
			return known.list
		}
		list, err := New(config.ImageImport.AllowedRegistriesForImport, hosts())
		if err != nil {
			// The configuration was validated with the same rules. If they ever
			// differ, nothing but this registry is allowed.
			klog.ErrorS(err, "The list of registries allowed for import cannot be used")
			list = &List{entries: []Entry{{}}, hosts: hosts()}
		}
		last.Store(&snapshot{config, list})
		return list
	}
}

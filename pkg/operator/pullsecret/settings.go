package pullsecret

import (
	"fmt"
	"reflect"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	imageregistryv1 "image.alauda.io/api/imageregistry/v1"
)

// settings are what Config and the Service ask for, the same for every ServiceAccount.
type settings struct {
	mode Mode
	// configured is the mode that Config asks for, also while the Service is awaited.
	configured   Mode
	scope        Scope
	hosts        []string
	hostsHash    string
	audience     string
	tokenSeconds int64
}

// settings reads the caches. Without the registry's Service there is nothing to give a credential for:
// what exists is kept, and nothing is created.
func (c *Controller) settings() (settings, error) {
	object, _, err := c.Configs.GetIndexer().GetByKey(configName)
	if err != nil {
		return settings{}, fmt.Errorf("read Config %s: %w", configName, err)
	}
	config, _ := object.(*imageregistryv1.Config)
	s := settings{mode: EffectiveMode(config), scope: ScopeOf(config, c.Namespace)}
	s.configured = s.mode
	if s.mode != Full && s.mode != RefreshOnly {
		return s, nil
	}
	service, err := c.services.Get(registryService)
	if apierrors.IsNotFound(err) {
		s.mode = Off
		return s, nil
	}
	if err != nil {
		return settings{}, fmt.Errorf("read Service %s: %w", registryService, err)
	}
	s.apply(config, HostInput{
		Namespace:     c.Namespace,
		ClusterDomain: c.ClusterDomain,
		ClusterIPs:    service.Spec.ClusterIPs,
		External:      config.Status.ExternalRegistryHostnames,
		Additional:    config.Spec.ImagePullSecret.AdditionalRegistryHosts,
	})
	return s, nil
}

func (s *settings) apply(config *imageregistryv1.Config, hosts HostInput) {
	s.hosts = Hosts(hosts)
	spec := config.Spec.ImagePullSecret
	s.audience = imageregistryv1.DefaultTokenAudience
	if spec.TokenAudience != nil {
		s.audience = *spec.TokenAudience
	}
	s.tokenSeconds = imageregistryv1.DefaultTokenExpirationSeconds
	if spec.TokenExpirationSeconds != nil {
		s.tokenSeconds = *spec.TokenExpirationSeconds
	}
	s.hostsHash = hostsHash(s.hosts, s.audience)
}

func (s settings) equal(other settings) bool { return reflect.DeepEqual(s, other) }

// sameScope tells whether both serve the same ServiceAccounts in the same way.
func (s settings) sameScope(other settings) bool {
	return s.mode == other.mode && reflect.DeepEqual(s.scope, other.scope)
}

package server

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/record"

	configv1 "image.alauda.io/api/config/v1"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/repository"
	"image.alauda.io/registry/pkg/imageapiserver/imagestreamimport/credentials"
	"image.alauda.io/registry/pkg/imageapiserver/importer"
	"image.alauda.io/registry/pkg/oci/remote"
	"image.alauda.io/registry/pkg/version"
)

// importCADir holds the certificate authorities of other registries, mounted from the ConfigMap
// image-registry-certificates.
const importCADir = "/var/run/image-import-ca"

// imports is what looks images up: one client and one importer serve all requests and all controllers
// of the process, so that they share what each registry allows.
type imports struct {
	client      *remote.Client
	importer    *importer.Importer
	credentials *credentials.Source
}

func (c *Config) newImports() (*imports, error) {
	source, hostSource := c.source, hosts(c.source, c.clusterDomain)
	options := remote.DefaultOptions()
	options.UserAgent = version.UserAgent(ComponentName)
	options.Settings = registrySettings(source.Current, hostSource)
	options.CADirs = []string{c.importCADir}
	options.InternalHosts = func() []string { return hostSource().InternalNames() }
	// That an image can be fetched from here shows that it may be copied, so nobody may answer instead.
	options.VerifiedHosts = func() []string { return hostSource().Names() }
	client, err := remote.New(options)
	if err != nil {
		return nil, fmt.Errorf("import: %w", err)
	}
	importer.ShowCooldowns(client.Cooldowns)
	importOptions := importer.DefaultOptions()
	importOptions.Registries = importer.FromClient(client)
	importOptions.Settings = func() importer.Settings { return importer.SettingsOf(&source.Current().ImageImport) }
	engine, err := importer.New(importOptions)
	if err != nil {
		return nil, fmt.Errorf("import: %w", err)
	}
	login, err := credentials.New(credentials.Options{
		Secrets:       c.client.CoreV1(),
		Namespace:     c.controllerOptions.Namespace,
		ClusterSecret: func() string { return source.Current().ImageImport.CredentialsSecret },
		OwnHosts:      func() []string { return hostSource().Names() },
		Warner:        secretWarner{c.events},
	})
	if err != nil {
		return nil, fmt.Errorf("import: %w", err)
	}
	return &imports{client: client, importer: engine, credentials: login}, nil
}

// registrySettings follows the configuration. While that does not change, it returns the same settings.
func registrySettings(current func() *configv1.ImageAPIServerConfig, hostSource repository.HostSource) func() *remote.Settings {
	type snapshot struct {
		config   *configv1.ImageAPIServerConfig
		settings *remote.Settings
	}
	var last atomic.Pointer[snapshot]
	return func() *remote.Settings {
		config := current()
		if known := last.Load(); known != nil && known.config == config {
			return known.settings
		}
		settings := remote.SettingsFrom(&config.ImageImport)
		settings.Mirrors = mirrorsOfOthers(settings.Mirrors, hostSource())
		last.Store(&snapshot{config, settings})
		return settings
	}
}

// mirrorsOfOthers leaves out mirrors of this registry itself. That an image can be fetched from here shows
// that it may be copied; a mirror would show that of anything.
func mirrorsOfOthers(mirrors []configv1.RegistryMirrors, own repository.Hosts) []configv1.RegistryMirrors {
	names := own.Names()
	for i := range names {
		names[i] = plainHost(names[i])
	}
	var others []configv1.RegistryMirrors
	for _, mirror := range mirrors {
		if host, _, _ := strings.Cut(strings.Trim(mirror.Source, "/"), "/"); !slices.Contains(names, plainHost(host)) {
			others = append(others, mirror)
		}
	}
	return others
}

// plainHost is a host in the form in which the registry client compares it.
func plainHost(host string) string { return strings.TrimSuffix(strings.ToLower(host), ":443") }

// secretWarner tells about pull secrets that cannot be used where their owner looks.
type secretWarner struct {
	events record.EventRecorder
}

func (w secretWarner) Warn(secret *corev1.Secret, reason, message string) {
	if w.events == nil {
		return
	}
	w.events.Event(&corev1.ObjectReference{
		APIVersion: "v1", Kind: "Secret", Namespace: secret.Namespace, Name: secret.Name, UID: secret.UID,
	}, corev1.EventTypeWarning, reason, message)
}

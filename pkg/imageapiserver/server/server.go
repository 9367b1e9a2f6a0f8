package server

import (
	"context"
	"time"

	genericapiserver "k8s.io/apiserver/pkg/server"

	"image.alauda.io/registry/pkg/imageapiserver/allowlist"
	"image.alauda.io/registry/pkg/imageapiserver/apigroup"
	"image.alauda.io/registry/pkg/imageapiserver/image"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/layers"
	"image.alauda.io/registry/pkg/imageapiserver/layerindex"
	"image.alauda.io/registry/pkg/imageapiserver/serverconfig"
	"image.alauda.io/registry/pkg/imageapiserver/streaminformer"
)

// CompletedConfig is a configuration from which a server can be built.
type CompletedConfig struct {
	*Config
	completed genericapiserver.CompletedConfig
}

// Complete fills in what the library derives.
func (c *Config) Complete() CompletedConfig {
	return CompletedConfig{Config: c, completed: c.generic.Complete()}
}

// Server is the API server with its in-memory copies.
type Server struct {
	generic *genericapiserver.GenericAPIServer
	group   *apigroup.Group
	imports *imports
	quotas  *quotas
}

// New builds the server. Nothing runs yet.
func (c CompletedConfig) New() (*Server, error) {
	generic, err := c.completed.New(ComponentName, genericapiserver.NewEmptyDelegate())
	if err != nil {
		return nil, err
	}
	imports, err := c.newImports()
	if err != nil {
		return nil, err
	}
	var index *layerindex.Index
	quotas := c.newQuotas()
	hosts := hosts(c.source, c.clusterDomain)
	group, err := apigroup.New(apigroup.Deps{
		RESTOptions:   c.generic.RESTOptionsGetter,
		Hosts:         hosts,
		AccessReviews: c.client.AuthorizationV1().SubjectAccessReviews(),
		Secrets:       c.client.CoreV1(),
		LayerIndex: func(images *image.REST) (layers.Index, error) {
			index = layerindex.New(images)
			c.sizes.set(index)
			return index, nil
		},
		Quota:             quotas.gate,
		AllowedRegistries: allowlist.NewSource(c.source.Current, hosts),
		MaxTagHistory:     func() int { return int(c.source.Current().ImageStreams.MaxTagHistory) },
		Importer:          imports.importer, ImportCredentials: imports.credentials,
		StoredSize: func(json []byte) (int, error) { return c.compressor.StoredSize(json), nil },
	}, c.codecs)
	if err != nil {
		return nil, err
	}
	if err := generic.InstallAPIGroup(group.Info()); err != nil {
		return nil, err
	}
	if err := generic.AddReadyzChecks(layerIndexCheck(index)); err != nil {
		return nil, err
	}
	s := &Server{generic: generic, group: group, imports: imports, quotas: quotas}
	background := &background{Server: s, config: c, streams: streaminformer.New(group.Streams)}
	if err := background.addControllers(generic); err != nil {
		return nil, err
	}
	if err := quotas.index.Feed(background.streams); err != nil {
		return nil, err
	}
	if err := c.addWebhook(generic, background.streams); err != nil {
		return nil, err
	}
	c.source.Refused = configWarner{client: c.client, events: c.events, namespace: c.controllerOptions.Namespace}.refused
	return s, addHooks(generic, index, c.source)
}

// addHooks starts what runs beside the requests. The hooks return at once: the library counts a hook
// that hangs against liveness.
func addHooks(generic *genericapiserver.GenericAPIServer, index *layerindex.Index, source *serverconfig.Source) error {
	if err := generic.AddPostStartHook("image-storage-caches", func(hook genericapiserver.PostStartHookContext) error {
		go index.Run(hook)
		return nil
	}); err != nil {
		return err
	}
	return generic.AddPostStartHook("image-config-reload", func(hook genericapiserver.PostStartHookContext) error {
		go func() {
			ticker := time.NewTicker(serverconfig.PollInterval)
			defer ticker.Stop()
			source.Run(hook, ticker.C)
		}()
		return nil
	})
}

// Run serves until the context ends, then shuts down in order: not ready at once, requests served for
// the shutdown delay, watches closed, requests in flight finished.
func (s *Server) Run(ctx context.Context) error {
	return s.generic.PrepareRun().RunWithContext(ctx)
}

package app

import (
	"context"

	"image.alauda.io/registry/pkg/registry/config"
	"image.alauda.io/registry/pkg/registry/server"

	"go.uber.org/zap"
)

// metrics watches what is there so far, and serves what was counted unless that is disabled.
func (b *builder) metrics(context.Context) error {
	b.registry.Metrics.WatchLimits(b.handlers.Reads, b.handlers.Writes, b.registry.Store.ActiveUploads)
	b.registry.Metrics.WatchStreams(b.registry.Streams.Healthy, b.registry.Streams.Bytes)
	if b.c.Alauda.Metrics.Enabled {
		b.handlers.Metrics = b.registry.Metrics.Handler()
	}
	return nil
}

// health makes what tells whether the storage works.
func (b *builder) health(context.Context) error {
	threshold := 0
	if check := b.c.Configuration.Health.StorageDriver; check.Enabled {
		threshold = check.Threshold
	}
	b.registry.Health = server.NewHealth(threshold)
	b.registry.Health.Changed = storageLog(b.Log)
	return nil
}

// storageLog tells administrators why the registry is not ready. The answer of the probe
// only says that it is not, because anybody may ask it.
func storageLog(log *zap.Logger) func(error) {
	return func(err error) {
		if err != nil {
			log.Error("the storage does not work", zap.Error(err))
			return
		}
		log.Info("the storage works again")
	}
}

// server puts HTTP and TLS in front of the handlers.
func (b *builder) server(context.Context) error {
	options, certificate, err := serverOptions(b.c, b.Log, b.registry.Metrics)
	if err != nil {
		return err
	}
	options.Audit, options.Tracing = b.Audit, b.Tracing
	b.registry.Certificate = certificate
	b.registry.Server = server.New(options, b.handlers, b.registry.Health, b.registry.Metrics, b.Log)
	return nil
}

// serverOptions reads the settings of the server; the certificate is nil without TLS.
func serverOptions(c *config.Config, log *zap.Logger, metrics *server.Metrics) (server.Options, *server.Certificate, error) {
	options := server.Options{
		IOTimeout: c.Alauda.HTTP.IOTimeout, ShutdownDelay: c.Alauda.HTTP.ShutdownDelay,
		DrainTimeout: c.Configuration.HTTP.DrainTimeout, Headers: c.Configuration.HTTP.Headers,
		AccessLog: !c.Configuration.Log.AccessLog.Disabled, HTTP2: !c.Configuration.HTTP.HTTP2.Disabled,
	}
	files := c.Configuration.HTTP.TLS
	if files.Certificate == "" {
		log.Warn("http.tls.certificate is empty: serving plain HTTP")
		return options, nil, nil
	}
	certificate, err := server.NewCertificate(files.Certificate, files.Key, log, metrics.SetCertificateExpiry)
	if err != nil {
		return options, nil, err
	}
	options.TLS, err = server.TLSConfig(server.TLSOptions{
		Certificate: files.Certificate, Key: files.Key, MinimumVersion: files.MinimumTLS,
		CipherSuites: files.CipherSuites, ClientCAs: files.ClientCAs, HTTP2: options.HTTP2,
	}, certificate)
	return options, certificate, err
}

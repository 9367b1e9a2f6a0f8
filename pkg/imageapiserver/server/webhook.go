package server

import (
	"errors"
	"net"
	"strconv"

	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"image.alauda.io/registry/pkg/imageapiserver/streaminformer"
	"image.alauda.io/registry/pkg/imageapiserver/webhook"
	"image.alauda.io/registry/pkg/imageapiserver/webhook/lookup"
)

// webhookAddress is where the webhooks listen, empty when they are off.
func webhookAddress(o *Options) string {
	if o.WebhookPort == 0 {
		return ""
	}
	return net.JoinHostPort(o.SecureServing.BindAddress.String(), strconv.Itoa(o.WebhookPort))
}

// addWebhook serves the resolution of short image names on its own port, with the serving certificate of the
// API, as long as the API is served.
func (c CompletedConfig) addWebhook(generic *genericapiserver.GenericAPIServer, streams cache.SharedIndexInformer) error {
	if c.webhookAddress == "" {
		return nil
	}
	handler, err := lookup.NewHandler(lookup.Options{
		Streams: streaminformer.NewLister(streams),
		Synced:  streams.HasSynced,
		Enabled: func() bool {
			enabled := c.source.Current().ImageLookup.Enabled
			return enabled == nil || *enabled
		},
	})
	if err != nil {
		return err
	}
	server, err := webhook.Listen(c.webhookAddress, c.generic.SecureServing.Cert, handler)
	if err != nil {
		return err
	}
	err = generic.AddPostStartHook("image-lookup-webhook", func(hook genericapiserver.PostStartHookContext) error {
		go func() {
			if err := server.Run(hook); err != nil {
				klog.FromContext(hook).Error(err, "The webhook for short image names is not served any more")
			}
		}()
		return nil
	})
	if err != nil {
		return errors.Join(err, server.Close())
	}
	return nil
}

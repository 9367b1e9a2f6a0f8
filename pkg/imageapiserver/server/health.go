package server

import (
	"errors"
	"net/http"

	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/healthz"
	"k8s.io/apiserver/pkg/storage/storagebackend"
	"k8s.io/apiserver/pkg/storage/storagebackend/factory"

	"image.alauda.io/registry/pkg/imageapiserver/layerindex"
	"image.alauda.io/registry/pkg/imageapiserver/storage"
)

// The storage checks belong to readiness only; see the package comment.

func recordsCheck(getter *storage.CRDGetter) healthz.HealthChecker {
	return healthz.NamedCheck("crd-storage", func(*http.Request) error { return getter.Ready() })
}

func addEtcdChecks(config *genericapiserver.Config, storageConfig storagebackend.Config) error {
	health, err := factory.CreateHealthCheck(storageConfig, config.DrainedNotify())
	if err != nil {
		return err
	}
	ready, err := factory.CreateReadyCheck(storageConfig, config.DrainedNotify())
	if err != nil {
		return err
	}
	config.AddReadyzChecks(
		healthz.NamedCheck("etcd", func(*http.Request) error { return health() }),
		healthz.NamedCheck("etcd-readiness", func(*http.Request) error { return ready() }),
	)
	return nil
}

// caContent is a bundle of certificate authorities that is read from the cluster.
type caContent interface {
	CurrentCABundleContent() []byte
}

var errNoRequestHeaderCA = errors.New("the certificate authority of kube-apiserver's proxy is not known yet")

// requestHeaderCheck keeps traffic away until the proxy of kube-apiserver can be recognised. A
// connection that it makes before stays without identity as long as it lives, and so would all
// requests that share it.
func requestHeaderCheck(ca caContent) healthz.HealthChecker {
	return healthz.NamedCheck("request-header-ca", func(*http.Request) error {
		if len(ca.CurrentCABundleContent()) == 0 {
			return errNoRequestHeaderCA
		}
		return nil
	})
}

var (
	errIndexNotSynced   = errors.New("the first list of Images is not complete")
	errStreamsNotSynced = errors.New("the first list of ImageStreams is not complete")
)

func layerIndexCheck(index *layerindex.Index) healthz.HealthChecker {
	return healthz.NamedCheck("image-layer-index", func(*http.Request) error {
		if !index.HasSynced() {
			return errIndexNotSynced
		}
		return nil
	})
}

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

var errIndexNotSynced = errors.New("the first list of Images is not complete")

func layerIndexCheck(index *layerindex.Index) healthz.HealthChecker {
	return healthz.NamedCheck("image-layer-index", func(*http.Request) error {
		if !index.HasSynced() {
			return errIndexNotSynced
		}
		return nil
	})
}

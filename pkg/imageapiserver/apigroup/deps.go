// Package apigroup composes the API group image.alauda.io/v1: it builds the
// REST storage of every resource over the stores that the server provides,
// and the scheme and codecs in which the group speaks.
//
// In: Deps, everything that the resources need from outside. Out: an
// APIGroupInfo ready to be installed into a generic API server, and the Image
// and ImageStream stores for controllers of the same process.
//
// The package starts nothing, opens no connection and holds no global state:
// two groups in one process (as in tests) do not see each other.
package apigroup

import (
	"errors"

	"k8s.io/apiserver/pkg/registry/generic"
	authorizationclient "k8s.io/client-go/kubernetes/typed/authorization/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/utils/clock"

	"image.alauda.io/registry/pkg/imageapiserver/allowlist"
	"image.alauda.io/registry/pkg/imageapiserver/image"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/layers"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/repository"
	"image.alauda.io/registry/pkg/imageapiserver/imagestreamimport"
	"image.alauda.io/registry/pkg/imageapiserver/importer"
	"image.alauda.io/registry/pkg/imageapiserver/quota"
)

// Deps are what the resources of the group need from the server.
type Deps struct {
	// RESTOptions tells the stores of images and imagestreams where and how
	// to keep their objects.
	RESTOptions generic.RESTOptionsGetter
	// Hosts returns the current names of the registry.
	Hosts repository.HostSource
	// AccessReviews asks whether the requesting user may do something else
	// than what he asked for, with the server's own identity.
	AccessReviews authorizationclient.SubjectAccessReviewInterface
	// Secrets reads pull secrets with the server's own identity.
	Secrets corev1client.SecretsGetter

	// LayerIndex builds the index behind imagestreams/layers over the Image
	// store. Nil reads every Image from the store on each request.
	LayerIndex func(images *image.REST) (layers.Index, error)
	// MaxTagHistory limits the events kept for each tag; nil or a result of
	// 0 keeps all.
	MaxTagHistory func() int
	// StoredSize returns the size of an encoded stream as it will be stored,
	// that is, compressed. Nil takes the size of its JSON.
	StoredSize func(json []byte) (int, error)
	// Quota admits what streams add to their namespace; nil admits everything.
	Quota *quota.Gate
	// AllowedRegistries lists where images may come from; nil is anywhere.
	AllowedRegistries allowlist.Source
	// Importer looks up images elsewhere; nil leaves imagestreamimports out.
	Importer importer.Interface
	// ImportCredentials are what imports log in with; needed with Importer.
	ImportCredentials imagestreamimport.Credentials
	// Clock tells the time of events; nil is the real clock.
	Clock clock.PassiveClock
}

// Validate tells what is missing.
func (d Deps) Validate() error {
	switch {
	case d.RESTOptions == nil:
		return errors.New("image API group: RESTOptions must be set")
	case d.Hosts == nil:
		return errors.New("image API group: Hosts must be set")
	case d.AccessReviews == nil:
		return errors.New("image API group: AccessReviews must be set")
	case d.Secrets == nil:
		return errors.New("image API group: Secrets must be set")
	case d.Importer != nil && d.ImportCredentials == nil:
		return errors.New("image API group: ImportCredentials must be set with Importer")
	}
	return nil
}

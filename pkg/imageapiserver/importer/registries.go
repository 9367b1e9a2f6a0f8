package importer

import (
	"context"

	"github.com/opencontainers/go-digest"

	"image.alauda.io/registry/pkg/oci/remote"
)

// Registries opens repositories. The guards against hostile networks (TLS, plain HTTP,
// refused addresses, rates, cool-downs, sizes), mirrors and credentials are behind it.
type Registries interface {
	// Repository does not use the network. It fails for a registry that is blocked.
	Repository(options remote.RepositoryOptions) (Repository, error)
}

// Repository is a repository of a registry, safe for concurrent use. *remote.Repository is
// one, and errors are those of that package.
type Repository interface {
	Manifest(ctx context.Context, tagOrDigest string) (*remote.Manifest, error)
	Head(ctx context.Context, tagOrDigest string) (remote.Descriptor, error)
	Blob(ctx context.Context, wanted digest.Digest, limit int64) ([]byte, error)
	Tags(ctx context.Context, limit int) ([]string, error)
}

// FromClient makes the registries behind a client available to an Importer.
func FromClient(client *remote.Client) Registries { return clientRegistries{client} }

type clientRegistries struct{ client *remote.Client }

func (c clientRegistries) Repository(options remote.RepositoryOptions) (Repository, error) {
	repository, err := c.client.Repository(options)
	if err != nil {
		return nil, err
	}
	return repository, nil
}

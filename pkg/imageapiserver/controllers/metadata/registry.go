package metadata

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"

	"image.alauda.io/api/image/reference"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/repository"
	"image.alauda.io/registry/pkg/oci/remote"
	"image.alauda.io/registry/pkg/oci/remote/keyring"
)

// Repository reads from one repository of this registry. *remote.Repository is one.
type Repository interface {
	Manifest(ctx context.Context, tagOrDigest string) (*remote.Manifest, error)
	Head(ctx context.Context, tagOrDigest string) (remote.Descriptor, error)
	Blob(ctx context.Context, wanted digest.Digest, limit int64) ([]byte, error)
}

// Registry opens repositories of this registry.
type Registry interface {
	Repository(namespace, name string) (Repository, error)
}

// InternalRegistry reaches the registry by its internal name with the server's token.
type InternalRegistry struct {
	Client *remote.Client
	Hosts  repository.HostSource
	// Token returns the current token of the server.
	Token func() (string, error)
}

var errNoHost = errors.New("the registry has no internal name yet")

// Repository implements Registry.
func (r InternalRegistry) Repository(namespace, name string) (Repository, error) {
	host := r.Hosts().Internal
	if host == "" {
		return nil, errNoHost
	}
	token, err := r.Token()
	if err != nil {
		return nil, fmt.Errorf("own token: %w", err)
	}
	keys, err := keyringOf(host, token)
	if err != nil {
		return nil, err
	}
	opened, err := r.Client.Repository(remote.RepositoryOptions{
		Reference: reference.DockerImageReference{Registry: host, Namespace: namespace, Name: name}, Keyring: keys,
	})
	if err != nil {
		return nil, fmt.Errorf("repository %s/%s: %w", namespace, name, err)
	}
	return opened, nil
}

// keyringOf holds a token as pull secrets do: the registry takes it as the password of any user.
func keyringOf(host, token string) (*keyring.Keyring, error) {
	login := map[string]string{"username": "image-api-server", "password": token}
	config, err := json.Marshal(map[string]any{"auths": map[string]any{host: login}})
	if err != nil {
		return nil, fmt.Errorf("own credentials for %s: %w", host, err)
	}
	return keyring.FromFile("own token", config)
}

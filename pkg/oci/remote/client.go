package remote

import (
	"net/http"
	"time"

	"image.alauda.io/api/image/reference"
	"image.alauda.io/registry/pkg/oci/remote/keyring"
)

// Client talks to registries. One serves the whole process.
type Client struct {
	options Options
}

// New returns a client. Start from DefaultOptions.
func New(options Options) (*Client, error) {
	if err := options.Validate(); err != nil {
		return nil, err
	}
	return &Client{options: options}, nil
}

// RepositoryOptions names a repository and how to reach it.
type RepositoryOptions struct {
	// Reference names the repository; its tag and digest are ignored.
	Reference reference.DockerImageReference
	// Insecure does without verified certificates and allows plain HTTP, at this registry but not at its
	// mirrors. Registries that the settings call insecure need no mention here.
	Insecure bool
	// Keyring holds the credentials that may be used; nil means none.
	Keyring *keyring.Keyring
	// Header is sent to the registry with every request.
	Header http.Header
}

// Cooldown is a registry that asked to be left alone.
type Cooldown struct {
	// Host is the registry as references spell it.
	Host  string
	Until time.Time
}

// Cooldowns returns the registries that are left alone at present, by name.
func (c *Client) Cooldowns() []Cooldown { return nil }

// Repository returns access to a repository and its mirrors. It opens no connection. A blocked
// registry without mirrors is an *Error of kind Blocked.
func (c *Client) Repository(options RepositoryOptions) (*Repository, error) {
	return &Repository{}, nil
}

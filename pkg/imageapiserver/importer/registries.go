package importer

import (
	"context"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Registries opens repositories of registries. The guards against hostile networks (TLS,
// plain HTTP, refused addresses, rates, cool-downs, sizes) are behind it.
type Registries interface {
	// Open returns a client for one repository. It does not use the network.
	Open(target Target) (Repository, error)
}

// Target names a repository and how it may be reached.
type Target struct {
	// Host is the registry with optional port, Path the repository on it.
	Host string
	Path string
	// Insecure allows plain HTTP and unverified TLS.
	Insecure bool
	// Credentials may be nil.
	Credentials Credentials
}

// Document is a manifest as it came.
type Document struct {
	Raw []byte
	// MediaType is what the registry announced, empty if nothing.
	MediaType string
}

// Repository is a repository of a registry. Its errors are read by FromRemote. It is
// safe for concurrent use.
type Repository interface {
	// Manifest reads a manifest by tag or digest. A digest is verified.
	Manifest(ctx context.Context, reference string) (Document, error)
	// Digest asks for the digest of a tag without reading the manifest. It may come back
	// empty from a registry that does not tell.
	Digest(ctx context.Context, reference string) (string, error)
	// Config reads a blob of the size that the descriptor names and verifies it.
	Config(ctx context.Context, descriptor v1.Descriptor) ([]byte, error)
	// Tags lists tags, at most limit.
	Tags(ctx context.Context, limit int) ([]string, error)
}

// Credential is one way to log in.
type Credential struct {
	Username      string
	Password      string
	IdentityToken string
	RegistryToken string
}

// Credentials finds the credentials for a repository, most specific first.
type Credentials interface {
	Candidates(host, path string) []Credential
}

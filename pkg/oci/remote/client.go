package remote

import (
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"image.alauda.io/api/image/reference"
	"image.alauda.io/registry/pkg/oci/remote/keyring"
)

// Client talks to registries. One serves the whole process.
type Client struct {
	options   Options
	rules     atomic.Pointer[rules]
	hosts     *hosts
	trust     *trust
	endpoints endpoints
	http      *http.Client
}

// New returns a client. Start from DefaultOptions.
func New(options Options) (*Client, error) {
	if err := options.Validate(); err != nil {
		return nil, err
	}
	c := &Client{
		options: options,
		hosts:   newHosts(options.Clock, options.Limits.PerHost, options.Limits.Hosts),
		trust:   &trust{clock: options.Clock, dirs: options.CADirs, every: options.CACheck},
	}
	c.http = &http.Client{
		Transport:     &wire{client: c, pool: map[poolKey]*http.Transport{}},
		CheckRedirect: checkRedirect,
	}
	return c, nil
}

// Close ends the connections that nobody uses.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// RepositoryOptions names a repository and how to reach it.
type RepositoryOptions struct {
	// Reference names the repository; its tag and digest are ignored.
	Reference reference.DockerImageReference
	// Insecure does without verified certificates and allows plain HTTP, at this registry but not at its
	// mirrors. Registries that the settings call insecure need no mention here. It says nothing about
	// Options.VerifiedHosts, and keeps credentials for verified registries back.
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
func (c *Client) Cooldowns() []Cooldown { return c.hosts.cooldowns() }

// Repository returns access to a repository and its mirrors. It opens no connection. A blocked
// registry without mirrors is an *Error of kind Blocked.
func (c *Client) Repository(options RepositoryOptions) (*Repository, error) {
	r, err := c.compiled()
	if err != nil {
		return nil, err
	}
	named := options.Reference.DockerClientDefaults()
	origin := location{host: canonicalHost(named.Registry), path: named.RepositoryName(), insecure: options.Insecure && !c.mustVerify(named.Registry)}
	if !isHostname(origin.host) {
		return nil, &Error{Kind: Internal, Message: "the reference names a registry that cannot be one"}
	}
	for _, err := range []error{reference.ValidateHost(origin.host), reference.ValidateRepository(origin.path)} {
		if err != nil {
			return nil, &Error{Kind: Internal, Host: origin.host, Message: err.Error()}
		}
	}
	repository := &Repository{host: origin.host, limits: c.options.Limits}
	known := map[location]*source{}
	for _, byDigest := range []bool{false, true} {
		for _, l := range r.sources(origin, byDigest) {
			if known[l] == nil {
				known[l] = newSource(c, l, options.Keyring, options.Header, l.insecure && l.host == origin.host && !r.insecure[l.host])
			}
			if byDigest {
				repository.byDigest = append(repository.byDigest, known[l])
			} else {
				repository.byTag = append(repository.byTag, known[l])
			}
		}
	}
	if len(known) == 0 {
		return nil, blockedError(origin.host)
	}
	return repository, nil
}

// mustVerify tells whether nobody but the settings may call a host insecure.
func (c *Client) mustVerify(host string) bool {
	return slices.ContainsFunc(c.options.VerifiedHosts(), func(verified string) bool {
		return verified != "" && canonicalHost(verified) == canonicalHost(host)
	})
}

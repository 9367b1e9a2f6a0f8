package keyring

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"

	corev1 "k8s.io/api/core/v1"
)

// Credential is one way to log in. It is comparable.
type Credential = authn.AuthConfig

// Keyring is immutable; a nil Keyring is empty.
type Keyring struct {
	tiers []tier
}

// tier is a set of entries that goes before the next set. Within it the most specific key comes first,
// then the source that was named first.
type tier struct {
	entries []entry
	except  []string
	// verified says that only a registry whose name is verified may see them.
	verified bool
}

type entry struct {
	pattern    pattern
	credential Credential
}

// Malformed is a Secret that was left out.
type Malformed struct {
	// Secret is its name.
	Secret string
	// Reason is for users and repeats nothing of the content.
	Reason string
}

func (m Malformed) Error() string { return fmt.Sprintf("pull secret %s: %s", m.Secret, m.Reason) }

// FromSecrets reads pull secrets; Secrets of other types are passed over. Malformed ones are left out
// and reported, by name. The order of the Secrets does not matter: on equally specific keys the name
// decides.
func FromSecrets(secrets []corev1.Secret) (*Keyring, []Malformed) {
	ordered := make([]*corev1.Secret, len(secrets))
	for i := range secrets {
		ordered[i] = &secrets[i]
	}
	slices.SortStableFunc(ordered, func(a, b *corev1.Secret) int { return cmp.Compare(a.Name, b.Name) })
	var entries []entry
	var malformed []Malformed
	for _, secret := range ordered {
		found, err := fromSecret(secret)
		if err != nil {
			malformed = append(malformed, Malformed{Secret: secret.Name, Reason: err.Error()})
			continue
		}
		entries = append(entries, found...)
	}
	return newKeyring(entries), malformed
}

func fromSecret(secret *corev1.Secret) ([]entry, error) {
	switch secret.Type {
	case corev1.SecretTypeDockerConfigJson:
		data, ok := secret.Data[corev1.DockerConfigJsonKey]
		if !ok {
			return nil, fmt.Errorf("key %s is missing", corev1.DockerConfigJsonKey)
		}
		return parseConfig(data)
	case corev1.SecretTypeDockercfg:
		data, ok := secret.Data[corev1.DockerConfigKey]
		if !ok {
			return nil, fmt.Errorf("key %s is missing", corev1.DockerConfigKey)
		}
		return parseLegacy(data)
	}
	return nil, nil
}

// FromFile reads the content of a Docker configuration file; name is for the error.
func FromFile(name string, data []byte) (*Keyring, error) {
	entries, err := parseConfig(data)
	if err != nil {
		return nil, fmt.Errorf("credentials file %s: %w", name, err)
	}
	return newKeyring(entries), nil
}

func newKeyring(entries []entry) *Keyring {
	slices.SortStableFunc(entries, func(a, b entry) int { return a.pattern.compare(b.pattern) })
	return &Keyring{tiers: []tier{{entries: entries}}}
}

// Join returns a keyring of several; all matches of an earlier one go before those of a later one.
func Join(keyrings ...*Keyring) *Keyring {
	joined := &Keyring{}
	for _, k := range keyrings {
		if k != nil {
			joined.tiers = append(joined.tiers, k.tiers...)
		}
	}
	return joined
}

// Except returns a keyring that has nothing for the hosts, which are spelt as in references. The
// cluster's own credentials are made so for the integrated registry: nobody shall read other namespaces
// with them.
func (k *Keyring) Except(hosts ...string) *Keyring {
	limited := &Keyring{}
	if k == nil {
		return limited
	}
	for _, t := range k.tiers {
		t.except = slices.Clone(t.except)
		for _, host := range hosts {
			t.except = append(t.except, canonicalHost(host))
		}
		limited.tiers = append(limited.tiers, t)
	}
	return limited
}

// Verified returns a keyring whose credentials are for registries that prove their name, unless whoever
// they belong to says otherwise. The cluster's own credentials are made so: users say of a registry
// that it is insecure, and would have them sent to whoever answers in its name.
func (k *Keyring) Verified() *Keyring {
	limited := &Keyring{}
	if k == nil {
		return limited
	}
	for _, t := range k.tiers {
		t.verified = true
		limited.tiers = append(limited.tiers, t)
	}
	return limited
}

// Unverified returns what of a keyring is for registries that do not prove their name, too.
func (k *Keyring) Unverified() *Keyring {
	limited := &Keyring{}
	if k == nil {
		return limited
	}
	for _, t := range k.tiers {
		if !t.verified {
			limited.tiers = append(limited.tiers, t)
		}
	}
	return limited
}

// Lookup returns the credentials for a repository, the best first and each once. host is spelt as in
// references; every name of Docker Hub is the same host.
func (k *Keyring) Lookup(host, repository string) []Credential {
	if k == nil {
		return nil
	}
	host = canonicalHost(host)
	var found []Credential
	for _, t := range k.tiers {
		if slices.Contains(t.except, host) {
			continue
		}
		for _, e := range t.entries {
			if e.pattern.matches(host, repository) && !slices.Contains(found, e.credential) {
				found = append(found, e.credential)
			}
		}
	}
	return found
}

// Len is the number of entries, for logs.
func (k *Keyring) Len() int {
	n := 0
	if k != nil {
		for _, t := range k.tiers {
			n += len(t.entries)
		}
	}
	return n
}

// String hides the content from whoever prints a keyring.
func (k *Keyring) String() string { return fmt.Sprintf("keyring of %d entries", k.Len()) }

// GoString does the same for %#v.
func (k *Keyring) GoString() string { return k.String() }

// canonicalHost gives the names of one registry one form. The port of HTTPS is the one that is meant
// when there is none.
func canonicalHost(host string) string {
	host = strings.ToLower(host)
	if name, port := splitPort(host); port == "443" {
		host = name
	}
	switch host {
	case "", "index.docker.io", "registry-1.docker.io":
		return "docker.io"
	}
	return host
}

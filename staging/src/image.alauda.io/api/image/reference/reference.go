package reference

import "strings"

// Names of Docker Hub and of what its clients leave out.
const (
	// DefaultRegistry is Docker Hub, as references name it.
	DefaultRegistry = "docker.io"
	// DefaultNamespace is the namespace of Docker Hub's official images.
	DefaultNamespace = "library"
	// DefaultTag is the tag of a reference that names none.
	DefaultTag = "latest"

	hubConnectHost = "registry-1.docker.io"
)

// DockerImageReference holds the parts of a pull spec. Empty parts were not
// given. A reference with a Registry only names a whole registry.
type DockerImageReference struct {
	// Registry is host or host:port.
	Registry string
	// Namespace is the first component of the path, if the path has several.
	Namespace string
	// Name is the rest of the path and may contain slashes.
	Name string
	// Tag is the tag.
	Tag string
	// ID is the digest.
	ID string
}

// Parse splits a pull spec into its parts. It does not add defaults.
func Parse(text string) (DockerImageReference, error) {
	var ref DockerImageReference
	if text == "" {
		return ref, invalid("the reference is empty")
	}
	name, digest, found := strings.Cut(text, "@")
	if found {
		if err := ValidateDigest(digest); err != nil {
			return DockerImageReference{}, err
		}
		ref.ID = digest
	}
	// A colon after the last slash starts the tag, an earlier one the port.
	if colon := strings.LastIndexByte(name, ':'); colon > strings.LastIndexByte(name, '/') {
		ref.Tag, name = name[colon+1:], name[:colon]
		if err := ValidateTag(ref.Tag); err != nil {
			return DockerImageReference{}, err
		}
	}
	if err := ref.setName(name); err != nil {
		return DockerImageReference{}, err
	}
	return ref, nil
}

// setName splits the part before tag and digest.
func (r *DockerImageReference) setName(name string) error {
	first, rest, slash := strings.Cut(name, "/")
	if !slash && isBareRegistry(name) {
		// "localhost:5000" has no repository, so 5000 is no tag.
		if r.ID == "" && portPattern.MatchString(r.Tag) {
			name, r.Tag = name+":"+r.Tag, ""
		}
		r.Registry = name
		return ValidateHost(name)
	}
	path := name
	if slash && isRegistry(first) {
		if err := ValidateHost(first); err != nil {
			return err
		}
		r.Registry, path = first, rest
	}
	if err := ValidateRepository(path); err != nil {
		return err
	}
	r.Namespace, r.Name = splitPath(path)
	return nil
}

func isBareRegistry(name string) bool {
	return strings.Contains(name, ".") || strings.HasPrefix(name, "localhost")
}

func isRegistry(component string) bool {
	return strings.ContainsAny(component, ".:") || component == "localhost"
}

func splitPath(path string) (namespace, name string) {
	if first, rest, found := strings.Cut(path, "/"); found {
		return first, rest
	}
	return "", path
}

// IsDockerHub tells whether a host is one of Docker Hub's names.
func IsDockerHub(host string) bool {
	switch host {
	case DefaultRegistry, "index.docker.io", hubConnectHost:
		return true
	}
	return false
}

// Exact writes the parts that are set, and nothing else.
func (r DockerImageReference) Exact() string {
	var b strings.Builder
	b.WriteString(r.Registry)
	if path := r.RepositoryName(); path != "" {
		if r.Registry != "" {
			b.WriteByte('/')
		}
		b.WriteString(path)
	}
	if r.Tag != "" {
		b.WriteString(":" + r.Tag)
	}
	if r.ID != "" {
		b.WriteString("@" + r.ID)
	}
	return b.String()
}

// String is Exact.
func (r DockerImageReference) String() string { return r.Exact() }

// RepositoryName is the path of the repository without its host.
func (r DockerImageReference) RepositoryName() string {
	if r.Namespace == "" {
		return r.Name
	}
	return r.Namespace + "/" + r.Name
}

// AsRepository drops tag and digest.
func (r DockerImageReference) AsRepository() DockerImageReference {
	r.Tag, r.ID = "", ""
	return r
}

// DockerClientDefaults fills in what a client assumes: Docker Hub, its library
// namespace, and the tag latest if there is neither tag nor digest.
func (r DockerImageReference) DockerClientDefaults() DockerImageReference {
	if r.Registry == "" {
		r.Registry = DefaultRegistry
	}
	if r.Namespace == "" && r.Name != "" && IsDockerHub(r.Registry) {
		r.Namespace = DefaultNamespace
	}
	if r.Tag == "" && r.ID == "" {
		r.Tag = DefaultTag
	}
	return r
}

// MostSpecific keeps the digest alone where there is a valid one. An ID that is
// no digest becomes the tag if there is none.
func (r DockerImageReference) MostSpecific() DockerImageReference {
	if r.ID == "" {
		return r
	}
	if ValidateDigest(r.ID) == nil {
		r.Tag = ""
		return r
	}
	if r.Tag == "" {
		r.Tag, r.ID = r.ID, ""
	}
	return r
}

// DaemonMinimal leaves out what a container engine leaves out: the aliases of
// Docker Hub become docker.io, and its library namespace and the tag latest
// disappear.
func (r DockerImageReference) DaemonMinimal() DockerImageReference {
	if IsDockerHub(r.Registry) {
		r.Registry = DefaultRegistry
		if r.Namespace == DefaultNamespace {
			r.Namespace = ""
		}
	}
	if r.Tag == DefaultTag {
		r.Tag = ""
	}
	return r
}

// Equal tells whether two references mean the same to a client.
func (r DockerImageReference) Equal(other DockerImageReference) bool {
	a, b := r.DockerClientDefaults(), other.DockerClientDefaults()
	if IsDockerHub(a.Registry) && IsDockerHub(b.Registry) {
		a.Registry, b.Registry = DefaultRegistry, DefaultRegistry
	}
	return a == b
}

// HostPort is where a client connects. Without an explicit port that is 443, or
// 80 for an insecure registry. An IPv6 address keeps its brackets.
func (r DockerImageReference) HostPort(insecure bool) (host, port string) {
	host = r.Registry
	if host == "" {
		host = DefaultRegistry
	}
	if colon := strings.LastIndexByte(host, ':'); colon > strings.LastIndexByte(host, ']') {
		host, port = host[:colon], host[colon+1:]
	}
	if host == DefaultRegistry {
		host = hubConnectHost
	}
	switch {
	case port != "":
	case insecure:
		port = "80"
	default:
		port = "443"
	}
	return host, port
}

package route

import (
	"net/http"
	"regexp"
	"strings"

	"image.alauda.io/registry/pkg/oci/manifest"
	"image.alauda.io/registry/pkg/registry/apierror"

	"github.com/opencontainers/go-digest"
)

const (
	maxReferenceLength = 255
	maxNamespaceLength = 63
	maxTagLength       = 128
)

var (
	componentPattern = regexp.MustCompile(`^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$`)
	dnsLabelPattern  = regexp.MustCompile(`^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?$`)
	tagPattern       = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*$`)
	uuidPattern      = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
)

// Name is a repository: an ImageStream in a namespace.
type Name struct {
	Namespace string
	Stream    string
}

// String returns "<namespace>/<imagestream>", or "" for the zero value.
func (n Name) String() string {
	if n == (Name{}) {
		return ""
	}
	return n.Namespace + "/" + n.Stream
}

// ParseName checks "<namespace>/<imagestream>". The name together with the address
// of the registry must fit into 255 characters, the limit of a reference.
func ParseName(text, serverAddr string) (Name, error) {
	namespace, stream, _ := strings.Cut(text, "/")
	if stream == "" || strings.Contains(stream, "/") {
		return Name{}, invalidName("repository name must have the form <namespace>/<imagestream>")
	}
	if len(serverAddr)+1+len(text) > maxReferenceLength {
		return Name{}, invalidName("repository name is too long: with the address of the registry it has more than 255 characters")
	}
	if len(namespace) > maxNamespaceLength || !dnsLabelPattern.MatchString(namespace) || !componentPattern.MatchString(namespace) {
		return Name{}, invalidName("the namespace must be a lower-case DNS label of at most 63 characters")
	}
	if !componentPattern.MatchString(stream) {
		return Name{}, invalidName("the image stream must have lower-case letters and digits, separated by '.', '_', '__' or '-'")
	}
	return Name{Namespace: namespace, Stream: stream}, nil
}

func invalidName(message string) error {
	return apierror.New(http.StatusBadRequest, apierror.CodeNameInvalid, "%s", message)
}

// ParseTag checks a tag.
func ParseTag(text string) (string, error) {
	if len(text) > maxTagLength || !tagPattern.MatchString(text) {
		return "", apierror.New(http.StatusBadRequest, apierror.CodeTagInvalid,
			"a tag has 1 to 128 letters, digits, '_', '.' or '-' and does not start with '.' or '-'")
	}
	return text, nil
}

// ParseDigest checks a sha256 or sha512 digest.
func ParseDigest(text string) (digest.Digest, error) {
	d, err := manifest.ParseDigest(text)
	if err != nil {
		return "", apierror.New(http.StatusBadRequest, apierror.CodeDigestInvalid, "%s", err)
	}
	return d, nil
}

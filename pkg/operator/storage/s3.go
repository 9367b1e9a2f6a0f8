package storage

import (
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/hostcerts"
	"image.alauda.io/registry/pkg/operator/fault"
)

const mebibyte = 1 << 20

// maxBundle is above every collection of public authorities. The CA is published several times in one ConfigMap.
const maxBundle = 320 << 10

// decideS3 plans for a bucket that is the user's: it is never made, changed or removed.
func decideS3(config *registryv1.Config, facts Facts) (Plan, error) {
	wanted := config.Spec.Storage.S3.DeepCopy()
	if wanted.CloudFront != nil {
		return refused(registryv1.ReasonUnsupportedStorage, "spec.storage.s3.cloudFront is not supported; remove it, clients are redirected to the bucket itself")
	}
	if err := checkS3(wanted); err != nil {
		return invalid("%v", err)
	}
	bundle, err := storageBundle(wanted.TrustedCA.Name, facts)
	if err != nil {
		return Plan{Exists: Existence{registryv1.ConditionUnknown, registryv1.ReasonUnknownError, err.Message}}, err
	}
	store := &ObjectStore{Place: fmt.Sprintf("bucket %q", wanted.Bucket), Bundle: bundle}
	if store.Private, err = s3Credentials(facts); err != nil {
		return Plan{Exists: Existence{registryv1.ConditionUnknown, registryv1.ReasonUnknownError, err.Message}}, err
	}
	store.Ambient = store.Private == nil
	return onObjects(config, Plan{
		Env:       s3Env(wanted, !store.Ambient),
		Effective: registryv1.StorageSpec{S3: effectiveS3(wanted)},
		Object:    store,
	}), nil
}

func checkS3(s *registryv1.S3Storage) error {
	if err := checkBucket("spec.storage.s3.bucket", s.Bucket); err != nil {
		return err
	}
	if err := checkRoot("spec.storage.s3.rootDirectory", s.RootDirectory); err != nil {
		return err
	}
	if s.Region != "" && !regionName.MatchString(s.Region) {
		return fmt.Errorf("spec.storage.s3.region is not the name of a region")
	}
	if strings.ContainsFunc(s.KeyID, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return fmt.Errorf("spec.storage.s3.keyID is not the name of a key")
	}
	if s.RegionEndpoint == "" {
		if s.Region == "" {
			return fmt.Errorf("spec.storage.s3.region is empty; set it, or set regionEndpoint for a store that is not Amazon's")
		}
		return nil
	}
	endpoint, err := url.Parse(s.RegionEndpoint)
	switch {
	case err != nil || endpoint.Scheme != "http" && endpoint.Scheme != "https" || endpoint.Host == "":
		return fmt.Errorf("spec.storage.s3.regionEndpoint is not an http or https URL")
	case linkLocal(endpoint.Hostname()):
		return fmt.Errorf("spec.storage.s3.regionEndpoint is an address of the node's own network, where platforms give credentials away")
	case endpoint.User != nil || endpoint.RawQuery != "" || endpoint.Fragment != "":
		return fmt.Errorf("spec.storage.s3.regionEndpoint holds more than scheme, host and port; credentials belong into Secret %s", registryv1.SecretPrivateConfigUser)
	}
	return nil
}

var regionName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$`)

// linkLocal says whether a host is an address of the network of the node alone.
func linkLocal(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLinkLocalUnicast()
}

// effectiveS3 has every default resolved.
func effectiveS3(wanted *registryv1.S3Storage) *registryv1.S3Storage {
	effective := wanted.DeepCopy()
	effective.Region = s3Region(wanted)
	effective.RootDirectory = cleanRoot(wanted.RootDirectory)
	if effective.ChunkSizeMiB == 0 {
		effective.ChunkSizeMiB = registryv1.DefaultS3ChunkSizeMiB
	}
	if !effective.Encrypt {
		effective.KeyID = ""
	}
	return effective
}

// s3Region is never empty: with an endpoint and without a region the driver would sign with the literal
// text <nil>.
func s3Region(s *registryv1.S3Storage) string {
	if s.Region == "" {
		return registryv1.DefaultS3Region
	}
	return s.Region
}

func s3Env(s *registryv1.S3Storage, file bool) variables {
	const prefix = "REGISTRY_STORAGE_S3_"
	var env variables
	env.verbatim("REGISTRY_STORAGE", "s3")
	env.set(prefix+"BUCKET", s.Bucket)
	env.set(prefix+"REGION", s3Region(s))
	env.optional(prefix+"REGIONENDPOINT", s.RegionEndpoint)
	// Always said: the driver's default is the virtual-hosted style, which most other stores do not know.
	env.verbatim(prefix+"FORCEPATHSTYLE", strconv.FormatBool(s.RegionEndpoint != "" && !s.VirtualHostedStyle))
	env.verbatim(prefix+"ENCRYPT", strconv.FormatBool(s.Encrypt))
	if s.Encrypt {
		env.optional(prefix+"KEYID", s.KeyID)
	}
	if s.ChunkSizeMiB != 0 {
		env.verbatim(prefix+"CHUNKSIZE", strconv.FormatInt(int64(s.ChunkSizeMiB)*mebibyte, 10))
	}
	env.optional(prefix+"ROOTDIRECTORY", cleanRoot(s.RootDirectory))
	if file {
		// The driver has no option for such a file; its SDK reads it through variables of its own.
		env.verbatim("AWS_SHARED_CREDENTIALS_FILE", CloudPath+"/"+KeyCredentials)
	}
	env.verbatim("AWS_SDK_LOAD_CONFIG", "true")
	return env
}

// s3Credentials is the file of shared credentials, nil when the platform gives them.
func s3Credentials(facts Facts) (map[string][]byte, *fault.Permanent) {
	if file := facts.User[KeyCredentials]; len(file) > 0 {
		if err := checkProfiles(string(file)); err != nil {
			return nil, &fault.Permanent{Reason: registryv1.ReasonInvalidStorageConfiguration, Message: fmt.Sprintf("%s, key %s: %v", facts.userSecret(), KeyCredentials, err)}
		}
		return map[string][]byte{KeyCredentials: file}, nil
	}
	access, secret := facts.userKey(KeyS3Access), facts.userKey(KeyS3Secret)
	missing := ""
	switch {
	case access == "" && secret == "":
		return nil, nil
	case access == "":
		missing = KeyS3Access
	case secret == "":
		missing = KeyS3Secret
	}
	if missing != "" {
		return nil, &fault.Permanent{Reason: registryv1.ReasonStorageCredentialsNotFound,
			Message: fmt.Sprintf("%s lacks key %s", facts.userSecret(), missing)}
	}
	file, err := profile(access, secret)
	if err != nil {
		return nil, &fault.Permanent{Reason: registryv1.ReasonInvalidStorageConfiguration,
			Message: fmt.Sprintf("%s: %v", facts.userSecret(), err)}
	}
	return map[string][]byte{KeyCredentials: file}, nil
}

// foreignCredentials are the settings of a profile by which the AWS clients would start a program, or send a file
// of the Pod to somebody: the token of the operator is one.
var foreignCredentials = []string{"credential_process", "web_identity_token_file"}

// checkProfiles refuses them wherever they stand; the clients know several ways to write a setting.
func checkProfiles(file string) error {
	text := strings.ToLower(file)
	for _, setting := range foreignCredentials {
		if strings.Contains(text, setting) {
			return fmt.Errorf("%s is not supported; use access keys, or leave them out and let the platform give the Pods an identity", setting)
		}
	}
	return nil
}

// profile writes both keys as a profile of the AWS clients.
func profile(access, secret string) ([]byte, error) {
	file := "[default]\n"
	for _, line := range []struct{ key, name, text string }{{KeyS3Access, "aws_access_key_id", access}, {KeyS3Secret, "aws_secret_access_key", secret}} {
		written, ok := profileValue(line.text)
		if !ok {
			return nil, fmt.Errorf("the value of key %s begins or ends with a blank or a quote, has several lines, or mixes quotes and comment signs; no file of AWS credentials can hold it", line.key)
		}
		file += line.name + " = " + written + "\n"
	}
	return []byte(file), nil
}

// storageBundle is the CA of the store.
func storageBundle(name string, facts Facts) (string, *fault.Permanent) {
	if name == "" {
		return "", nil
	}
	notFound := func(format string, args ...any) *fault.Permanent {
		return &fault.Permanent{Reason: registryv1.ReasonTrustedCANotFound,
			Message: fmt.Sprintf("spec.storage.s3.trustedCA.name: ConfigMap %s in namespace %s ", name, facts.Namespace) + fmt.Sprintf(format, args...)}
	}
	if facts.StorageCA == nil {
		return "", notFound("does not exist or is empty; create it with the CA of the store under key ca-bundle.crt")
	}
	bundle, found := caOf(facts.StorageCA)
	if !found {
		return "", notFound("has neither key ca-bundle.crt nor ca.crt, and more than one other")
	}
	if len(bundle) > maxBundle {
		return "", notFound("holds more than %d KiB; leave only the CA that signed the certificate of the store", maxBundle>>10)
	}
	if _, err := hostcerts.Normalise([]byte(bundle), time.Time{}); err != nil {
		return "", notFound("holds no certificate in PEM: %v", err)
	}
	return strings.TrimRight(bundle, "\n") + "\n", nil
}

// caOf takes ca-bundle.crt, else ca.crt, else the only key.
func caOf(data map[string]string) (string, bool) {
	for _, key := range []string{"ca-bundle.crt", "ca.crt"} {
		if text, there := data[key]; there {
			return text, true
		}
	}
	if len(data) != 1 {
		return "", false
	}
	for _, text := range data {
		return text, true
	}
	return "", false
}

// profileValue writes a value so that the AWS clients read it back as it is. Their reader trims it, takes quotes
// away and knows no escape, so there are values that cannot be written. A comment begins with a sign at the
// start of the value or after a blank, but not within quotes.
func profileValue(value string) (string, bool) {
	if value == "" || strings.TrimFunc(value, trimmed) != value || strings.ContainsAny(value, "\r\n\x00") {
		return "", false
	}
	padded := strings.ReplaceAll(" "+value, "\t", " ")
	if !strings.Contains(padded, " #") && !strings.Contains(padded, " ;") {
		return value, true
	}
	return `"` + value + `"`, !strings.ContainsAny(value, `"\`)
}

func trimmed(r rune) bool { return unicode.IsSpace(r) || r == '"' || r == '\'' }

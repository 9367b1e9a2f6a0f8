package storage

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"

	corev1 "k8s.io/api/core/v1"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/fault"
)

// CloudPath is where the registry finds the files of its private configuration.
const CloudPath = "/var/run/secrets/cloud"

// Keys of the Secrets by which credentials come in and reach the registry.
const (
	KeyCredentials  = "credentials"
	KeyS3Access     = "REGISTRY_STORAGE_S3_ACCESSKEY"
	KeyS3Secret     = "REGISTRY_STORAGE_S3_SECRETKEY"
	KeyGCSFile      = "REGISTRY_STORAGE_GCS_KEYFILE"
	KeyAzureAccount = "REGISTRY_STORAGE_AZURE_ACCOUNTKEY"
)

// ObjectStore is what a plan has for a bucket or a container.
type ObjectStore struct {
	// Place names it in messages, for example `bucket "images"`.
	Place string
	// Private are the keys that it adds to Secret image-registry-private-configuration, as the registry
	// reads them.
	Private map[string][]byte
	// Bundle is the CA of the store in PEM, empty when the system's are enough.
	Bundle string
	// Ambient says that no credentials are given: they come from what the platform gives the Pod.
	Ambient bool
}

// TrustedCAName is the ConfigMap that holds the CA of the store, empty when none is named.
func TrustedCAName(spec registryv1.StorageSpec) string {
	if spec.S3 == nil {
		return ""
	}
	return spec.S3.TrustedCA.Name
}

// onObjects completes a plan of an object store. Nobody has looked at the store yet.
func onObjects(config *registryv1.Config, plan Plan) Plan {
	plan.Effective.ManagementState = resolved(config.Spec.Storage.ManagementState, registryv1.Unmanaged)
	plan.Strategy = RollingUpdate
	if config.Spec.RolloutStrategy != "" {
		plan.Strategy = config.Spec.RolloutStrategy
	}
	plan.Replicas, plan.ReplicasReason = asSpecified(config)
	plan.Exists = Existence{registryv1.ConditionUnknown, registryv1.ReasonConfigurationChanged, plan.Object.Place + " has not been tested yet"}
	return plan
}

// invalid is a fault of the configuration, with the condition that belongs to it.
func invalid(format string, args ...any) (Plan, error) {
	return refused(registryv1.ReasonInvalidStorageConfiguration, format, args...)
}

func refused(reason, format string, args ...any) (Plan, error) {
	message := fmt.Sprintf(format, args...)
	return Plan{Exists: Existence{registryv1.ConditionUnknown, registryv1.ReasonUnknownError, message}}, fault.Permanentf(reason, "%s", message)
}

var bucketName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// checkBucket refuses what would be another place than the one that it seems to name.
func checkBucket(field, bucket string) error {
	switch {
	case bucket == "":
		return fmt.Errorf("%s is empty; set it to the name of an existing bucket", field)
	case !bucketName.MatchString(bucket):
		return fmt.Errorf("%s is not the name of a bucket", field)
	}
	return nil
}

// checkRoot refuses directories that a store and a proxy in front of it may read differently.
func checkRoot(field, root string) error {
	for _, segment := range strings.Split(root, "/") {
		if segment == "." || segment == ".." || strings.ContainsFunc(segment, unicode.IsControl) {
			return fmt.Errorf("%s is not a plain path", field)
		}
	}
	return nil
}

// cleanRoot is the directory as the drivers use it.
func cleanRoot(root string) string { return strings.Trim(root, "/") }

// variables collects environment variables whose values the registry parses as YAML.
type variables []corev1.EnvVar

func (v *variables) set(name, value string) {
	*v = append(*v, corev1.EnvVar{Name: name, Value: Scalar(value)})
}

// verbatim is for values that are written as the registry shall read them, and for variables of others.
func (v *variables) verbatim(name, value string) {
	*v = append(*v, corev1.EnvVar{Name: name, Value: value})
}

func (v *variables) optional(name, value string) {
	if value != "" {
		v.set(name, value)
	}
}

// userKey is a value of the user's Secret without the line break that editors and `echo` leave.
func (f Facts) userKey(key string) string {
	return strings.TrimRight(string(f.User[key]), "\r\n")
}

func (f Facts) userSecret() string {
	return fmt.Sprintf("Secret %s in namespace %s", registryv1.SecretPrivateConfigUser, f.Namespace)
}

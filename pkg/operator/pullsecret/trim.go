package pullsecret

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"image.alauda.io/registry/pkg/operator/apply"
)

const (
	// cachedHashKey replaces the credential in the cache by its hash.
	cachedHashKey = "dockerconfigjson.sha256"
	// othersKey stands in the cache for managed fields that do not name the operator.
	othersKey = "written-by-others"
)

// forgetCredential is the cache transform of Secrets: the credential is replaced by its hash, so that no token
// stays in memory, and what others noted on the Secret is dropped. There are as many as ServiceAccounts: strings
// that are the same in all of them are kept once.
func forgetCredential(obj any) (any, error) {
	secret, ok := obj.(*corev1.Secret)
	if !ok {
		return obj, nil
	}
	kept := map[string][]byte{}
	if data, fresh := secret.Data[corev1.DockerConfigJsonKey]; fresh {
		kept[cachedHashKey] = []byte(sha256Hex(data))
	} else if hash := secret.Data[cachedHashKey]; len(hash) == hashLength { // a transform may run twice
		kept[cachedHashKey] = hash
	}
	if writtenByOthers(secret) {
		kept[othersKey] = []byte("true")
	}
	secret.Data, secret.StringData, secret.ManagedFields, secret.Labels, secret.Finalizers = kept, nil, nil, nil, nil
	notes := make(map[string]string, len(ownAnnotations))
	for _, name := range ownAnnotations {
		if value, there := secret.Annotations[name]; there {
			notes[name] = value
		}
	}
	secret.Annotations = notes
	for i := range secret.OwnerReferences {
		if owner := &secret.OwnerReferences[i]; owner.Kind == accountKind && owner.APIVersion == "v1" {
			owner.Kind, owner.APIVersion = accountKind, "v1"
		}
	}
	return secret, nil
}

// writtenByOthers says of a labelled Secret, cached or live, that neither its label nor its credential is from the
// operator: whoever copies a Secret copies label and annotations. Without any managed fields nothing is known.
func writtenByOthers(secret *corev1.Secret) bool {
	if len(secret.ManagedFields) == 0 {
		return len(secret.Data[othersKey]) > 0
	}
	return !wrote(secret, "labels", ManagedLabel) && !wrote(secret, "annotations", dataHashAnnotation)
}

func wrote(object metav1.Object, field, name string) bool {
	return apply.Wrote(object, fieldManager, "metadata", field, name)
}

// trimAccount is the cache transform of ServiceAccounts.
func trimAccount(obj any) (any, error) {
	account, ok := obj.(*corev1.ServiceAccount)
	if !ok {
		return obj, nil
	}
	account.ManagedFields = nil
	account.Labels = nil
	account.Secrets = nil
	account.OwnerReferences = nil
	account.Finalizers = nil
	if value, ok := account.Annotations[InjectAnnotation]; ok {
		account.Annotations = map[string]string{InjectAnnotation: value}
	} else {
		account.Annotations = nil
	}
	return account, nil
}

package pullsecret

import (
	"slices"
	"strings"
	"time"
	"unique"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"image.alauda.io/registry/pkg/operator/apply"
)

// There are as many ServiceAccounts and Secrets as a cluster has workloads, and their users decide how large each of
// them is. The caches therefore hold what Decide looks at and nothing else, in a form whose size has a bound.

// Bounds on what is kept of one object; the API server's own limit is a megabyte and more.
const (
	// maxReferences and maxReferenceBytes: a longer list is read again when it is to be changed.
	maxReferences     = 16
	maxReferenceBytes = 1024
	// maxNote is more than any uid, hash or id of a key has.
	maxNote = 1024
)

// Account is what is kept of a ServiceAccount.
type Account struct {
	Name    string
	UID     types.UID
	Version string
	Created time.Time
	// References are the names in imagePullSecrets, in their order; none when they are Long.
	References []string
	namespace  unique.Handle[string]
	// Refers: the managed name is among the references.
	Refers bool
	// Long: there are more references than are kept.
	Long bool
	// Deleting and OptedOut put it out of scope.
	Deleting, OptedOut bool
}

// accountFrom takes what is needed out of a ServiceAccount, and the references however many there are.
func accountFrom(from *corev1.ServiceAccount) *Account {
	account := &Account{
		namespace: unique.Make(from.Namespace), Name: strings.Clone(from.Name), UID: types.UID(strings.Clone(string(from.UID))),
		Version: strings.Clone(from.ResourceVersion), Created: from.CreationTimestamp.Time,
		Deleting: from.DeletionTimestamp != nil, OptedOut: from.Annotations[InjectAnnotation] == "false",
	}
	managed := SecretName(account.Name)
	for _, reference := range from.ImagePullSecrets {
		name := managed
		if reference.Name == managed {
			account.Refers = true
			if strings.HasPrefix(managed, account.Name) {
				account.Name = managed[:len(account.Name)] // the same letters, once in memory
			}
		} else {
			name = strings.Clone(reference.Name)
		}
		account.References = append(account.References, name)
	}
	return account
}

// keepAccount is the cache transform of ServiceAccounts.
func keepAccount(obj any) (any, error) {
	from, ok := obj.(*corev1.ServiceAccount)
	if !ok || from == nil {
		return obj, nil
	}
	if tooMany(from.ImagePullSecrets) {
		managed := SecretName(from.Name)
		account := accountFrom(&corev1.ServiceAccount{ObjectMeta: from.ObjectMeta})
		account.Long = true
		account.Refers = slices.ContainsFunc(from.ImagePullSecrets, func(r corev1.LocalObjectReference) bool { return r.Name == managed })
		return account, nil
	}
	account := accountFrom(from)
	account.References = slices.Clip(account.References)
	return account, nil
}

func tooMany(references []corev1.LocalObjectReference) bool {
	bytes := 0
	for _, reference := range references {
		bytes += len(reference.Name)
	}
	return len(references) > maxReferences || bytes > maxReferenceBytes
}

// Namespace is that of the ServiceAccount.
func (a *Account) Namespace() string { return a.namespace.Value() }

// mayRefer tells whether the list names a Secret, as far as it is kept.
func (a *Account) mayRefer(name string) bool { return a.Long || slices.Contains(a.References, name) }

// GetObjectMeta lets a cache find the key of the object and tell its versions apart.
func (a *Account) GetObjectMeta() metav1.Object {
	return &metav1.ObjectMeta{Namespace: a.Namespace(), Name: a.Name, UID: a.UID, ResourceVersion: a.Version}
}

// Secret is what is kept of a labelled Secret. No credential is in it, and no hash of one.
type Secret struct {
	Name    string
	UID     types.UID
	Version string
	// Account names the ServiceAccount by the owner reference; the annotation counts when there is none.
	Account string
	// Owner is the uid of the first ServiceAccount that owns the Secret, empty without any.
	Owner types.UID
	// Expires and Refresh are the noted times; zero is none, or one that cannot be read.
	Expires, Refresh time.Time
	namespace        unique.Handle[string]
	hostsHash, keyID unique.Handle[string]
	// Deleting: a finalizer of somebody holds it.
	Deleting bool
	// Fixed: type or immutability cannot be changed.
	Fixed bool
	// Foreign: neither the label nor the credential is from the operator, see writtenByOthers.
	Foreign bool
	// Ends, Hashed and Signed tell that an end, a hash of the data and the id of a key are noted at all.
	Ends, Hashed, Signed bool
	// Intact: the data is what the noted hash says.
	Intact bool
}

// secretFrom takes what is needed out of a Secret, cached or read live.
func secretFrom(from *corev1.Secret) *Secret {
	notes := from.Annotations
	id, signed := notes[keyIDAnnotation]
	secret := &Secret{
		namespace: unique.Make(from.Namespace), Name: strings.Clone(from.Name), UID: types.UID(strings.Clone(string(from.UID))),
		Version: strings.Clone(from.ResourceVersion), Account: from.Annotations[accountAnnotation],
		Expires: noted(notes[expiresAnnotation]), Refresh: noted(notes[refreshAnnotation]),
		hostsHash: unique.Make(bounded(notes[hostsHashAnnotation])), keyID: unique.Make(bounded(id)),
		Deleting: from.DeletionTimestamp != nil,
		Fixed:    from.Type != corev1.SecretTypeDockerConfigJson || from.Immutable != nil && *from.Immutable,
		Foreign:  writtenByOthers(from),
		Ends:     notes[expiresAnnotation] != "", Hashed: notes[dataHashAnnotation] != "", Signed: signed,
		Intact: dataHash(from) == notes[dataHashAnnotation],
	}
	if owner, found := ownerOf(from); found {
		secret.Account, secret.Owner = owner.Name, types.UID(strings.Clone(bounded(string(owner.UID))))
	}
	if secret.Name == SecretName(secret.Account) && strings.HasPrefix(secret.Name, secret.Account) {
		secret.Account = secret.Name[:len(secret.Account)]
	} else {
		secret.Account = strings.Clone(bounded(secret.Account))
	}
	return secret
}

// keepSecret is the cache transform of Secrets.
func keepSecret(obj any) (any, error) {
	secret, ok := obj.(*corev1.Secret)
	if !ok || secret == nil {
		return obj, nil
	}
	return secretFrom(secret), nil
}

// noted reads a time; zero is none.
func noted(text string) time.Time {
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}
	}
	return at.UTC() // others would keep a time zone each
}

// bounded cuts what is longer than anything the operator writes.
func bounded(text string) string { return text[:min(len(text), maxNote)] }

// dataHash is empty when there is no credential.
func dataHash(secret *corev1.Secret) string {
	data, there := secret.Data[corev1.DockerConfigJsonKey]
	if !there {
		return ""
	}
	return sha256Hex(data)
}

// Namespace is that of the Secret.
func (s *Secret) Namespace() string { return s.namespace.Value() }

// HostsHash is that of the hosts which the credential is for.
func (s *Secret) HostsHash() string { return s.hostsHash.Value() }

// KeyID is the id of the key that signed the token.
func (s *Secret) KeyID() string { return s.keyID.Value() }

// key is that of the ServiceAccount of the Secret.
func (s *Secret) key() types.NamespacedName {
	return types.NamespacedName{Namespace: s.Namespace(), Name: s.Account}
}

// GetObjectMeta lets a cache find the key of the object and tell its versions apart.
func (s *Secret) GetObjectMeta() metav1.Object {
	return &metav1.ObjectMeta{Namespace: s.Namespace(), Name: s.Name, UID: s.UID, ResourceVersion: s.Version}
}

// ownerOf is the first ServiceAccount that owns a Secret.
func ownerOf(secret *corev1.Secret) (metav1.OwnerReference, bool) {
	for _, owner := range secret.OwnerReferences {
		if owner.Kind == accountKind && owner.APIVersion == "v1" {
			return owner, true
		}
	}
	return metav1.OwnerReference{}, false
}

// writtenByOthers says of a labelled Secret that neither its label nor its credential is from the operator: whoever
// copies a Secret copies label and annotations. Without any managed fields nothing is known.
func writtenByOthers(secret *corev1.Secret) bool {
	return len(secret.ManagedFields) > 0 && !wrote(secret, "labels", ManagedLabel) && !wrote(secret, "annotations", dataHashAnnotation)
}

func wrote(object metav1.Object, field, name string) bool {
	return apply.Wrote(object, fieldManager, "metadata", field, name)
}

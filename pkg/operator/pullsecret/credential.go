package pullsecret

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// emptyCredential is what a Secret holds until the token that is bound to it exists.
const emptyCredential = `{"auths":{}}`

// credential renders the Docker configuration for all hosts, with sorted keys.
func credential(account, token string, hosts []string) ([]byte, error) {
	type entry struct {
		Auth string `json:"auth"`
	}
	auth := base64.StdEncoding.EncodeToString([]byte(account + ":" + token))
	auths := make(map[string]entry, len(hosts))
	for _, host := range hosts {
		auths[host] = entry{Auth: auth}
	}
	return json.Marshal(map[string]any{"auths": auths})
}

// newSecret is the Secret before its first token.
func newSecret(account *Account) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:   account.Namespace(),
			Name:        SecretName(account.Name),
			Labels:      commonLabels(),
			Annotations: map[string]string{accountAnnotation: account.Name},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: "v1", Kind: accountKind, Name: account.Name, UID: account.UID,
			}},
		},
		Type: corev1.SecretTypeDockerConfigJson,
		Data: map[string][]byte{corev1.DockerConfigJsonKey: []byte(emptyCredential)},
	}
}

// token is what the API server returned, and when it is to be replaced.
type token struct {
	value     string
	expiresAt time.Time
	refreshAt time.Time
}

// minRefresh is the shortest time to the next token: half the life of the shortest one. Only with a clock that
// is far ahead of the API server's does a token seem to live shorter; it must not be asked for without end.
const minRefresh = 5 * time.Minute

// refreshTime is 60 % of the life minus up to 10 %, by the UID of the Secret, so that the refreshes of a
// cluster spread and a restart does not move them.
func refreshTime(start, end time.Time, uid string) time.Time {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(uid))
	share := 0.6 - 0.1*float64(hash.Sum32()%1000)/1000
	return start.Add(max(minRefresh, time.Duration(share*float64(end.Sub(start)))))
}

// keyID reads the header field kid of a signed token; empty if there is none.
func keyID(signed string) string {
	header, _, _ := strings.Cut(signed, ".")
	raw, err := base64.RawURLEncoding.DecodeString(header)
	if err != nil {
		return ""
	}
	var fields struct {
		KeyID string `json:"kid"`
	}
	if json.Unmarshal(raw, &fields) != nil {
		return ""
	}
	return fields.KeyID
}

// refreshPatch is the merge patch that puts a token into a Secret, only into this very object and only
// at the version that was decided on.
func refreshPatch(secret *Secret, account string, t token, hosts []string, hostsHash string) (written, error) {
	data, err := credential(account, t.value, hosts)
	if err != nil {
		return written{}, fmt.Errorf("encode credential: %w", err)
	}
	body, err := json.Marshal(map[string]any{
		"metadata": map[string]any{
			"uid":             secret.UID,
			"resourceVersion": secret.Version,
			"labels":          commonLabels(),
			"annotations": map[string]string{
				accountAnnotation:   account,
				expiresAnnotation:   t.expiresAt.UTC().Format(time.RFC3339),
				refreshAnnotation:   t.refreshAt.UTC().Format(time.RFC3339),
				hostsHashAnnotation: hostsHash,
				keyIDAnnotation:     keyID(t.value),
				dataHashAnnotation:  sha256Hex(data),
			},
		},
		"data": map[string][]byte{corev1.DockerConfigJsonKey: data},
	})
	return written{body: body, data: data}, err
}

// written is a patch of a Secret and the credential in it.
type written struct{ body, data []byte }

// withhold takes the words out of an error that repeats the token: an admission policy of somebody may quote
// the object that it refuses, or a part of it, and errors are logged. What the error means to the caller stays.
func withhold(err error, data []byte, token string) error {
	if !repeats(err.Error(), token, string(data), base64.StdEncoding.EncodeToString(data), base64.StdEncoding.EncodeToString([]byte(token))) {
		return err
	}
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return errors.New("the error repeats the token and is withheld")
	}
	withheld := status.Status()
	withheld.Message = fmt.Sprintf("%s; the message of the API server repeats the token and is withheld", withheld.Reason)
	if withheld.Details != nil {
		withheld.Details = &metav1.StatusDetails{RetryAfterSeconds: withheld.Details.RetryAfterSeconds}
	}
	return &apierrors.StatusError{ErrStatus: withheld}
}

// quotation is how many characters in a row are taken for a quotation. Nobody guesses the rest of a token.
const quotation = 16

// repeats tells whether a text quotes one of the secrets.
func repeats(text string, secrets ...string) bool {
	for at := 0; at+quotation <= len(text); at++ {
		for _, secret := range secrets {
			if strings.Contains(secret, text[at:at+quotation]) {
				return true
			}
		}
	}
	return false
}

// referencesPatch is the merge patch that replaces the list imagePullSecrets of a ServiceAccount. The
// list is atomic, so it is written whole, and only against the version it was read from.
func referencesPatch(account *Account, names []string) ([]byte, error) {
	references := make([]corev1.LocalObjectReference, 0, len(names))
	for _, name := range names {
		references = append(references, corev1.LocalObjectReference{Name: name})
	}
	return json.Marshal(map[string]any{
		"metadata": map[string]any{
			"uid":             account.UID,
			"resourceVersion": account.Version,
		},
		"imagePullSecrets": references,
	})
}

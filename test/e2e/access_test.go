//go:build e2e

package e2e

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestRefusalsNameWhatIsMissing(t *testing.T) {
	namespace := shared.namespace(t, "refuse")
	image := randomImage(t)
	ref := shared.reference(t, namespace+"/app:v1")

	err := remote.Write(ref, image, shared.remoteOptions(t, remote.WithAuth(authn.Anonymous))...)
	if status, text := refusal(t, err); status != 401 {
		t.Errorf("anonymous push: got %d %s, want 401", status, text)
	}
	err = remote.Write(ref, image, shared.remoteOptions(t, asToken("not-a-token"))...)
	if status, text := refusal(t, err); status != 401 {
		t.Errorf("push with a made-up token: got %d %s, want 401", status, text)
	}

	token := shared.token(t, namespace, "somebody")
	err = remote.Write(ref, image, shared.remoteOptions(t, asToken(token))...)
	status, text := refusal(t, err)
	user := "system:serviceaccount:" + namespace + ":somebody"
	if status != 403 || !strings.Contains(text, user) || !strings.Contains(text, "imagestreams/layers") || !strings.Contains(text, namespace+"/app") {
		t.Errorf("push without permission: got %d %s, want 403 naming the user, imagestreams/layers and the repository", status, text)
	}

	shared.grant(t, namespace, "system:image-pusher", "somebody", namespace)
	eventually(t, "push after the documented RoleBinding", func(context.Context) error {
		return remote.Write(ref, image, shared.remoteOptions(t, asToken(token))...)
	})
}

func TestPullNeedsPermission(t *testing.T) {
	namespace := shared.namespace(t, "pull")
	pushRandomImage(t, namespace+"/app:v1", shared.pusher(t, namespace))

	other := shared.namespace(t, "reader")
	token := shared.token(t, other, "reader")
	_, err := remote.Get(shared.reference(t, namespace+"/app:v1"), shared.remoteOptions(t, asToken(token))...)
	if status, text := refusal(t, err); status != 403 || !strings.Contains(text, "imagestreams/layers") {
		t.Errorf("pull without permission: got %d %s, want 403", status, text)
	}
	shared.grant(t, namespace, "system:image-puller", "reader", other)
	out := shared.shell(t, fmt.Sprintf("kubectl auth can-i get imagestreams.image.alauda.io --subresource=layers -n %s --as=system:serviceaccount:%s:reader", namespace, other))
	if out != "yes" {
		t.Errorf("the documented check answers %q after the documented RoleBinding", out)
	}
	eventually(t, "pull after the documented RoleBinding", func(context.Context) error {
		_, err := remote.Get(shared.reference(t, namespace+"/app:v1"), shared.remoteOptions(t, asToken(token))...)
		return err
	})
}

// pullSecretToken returns the token that the operator manages for a ServiceAccount.
func pullSecretToken(t *testing.T, namespace, account string) string {
	t.Helper()
	var token string
	eventually(t, "pull secret of "+namespace+"/"+account, func(ctx context.Context) error {
		sa, err := shared.kube.CoreV1().ServiceAccounts(namespace).Get(ctx, account, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if len(sa.ImagePullSecrets) == 0 {
			return fmt.Errorf("ServiceAccount has no imagePullSecrets")
		}
		secret, err := shared.kube.CoreV1().Secrets(namespace).Get(ctx, sa.ImagePullSecrets[0].Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		var config struct {
			Auths map[string]struct{ Auth string }
		}
		if err := json.Unmarshal(secret.Data[".dockerconfigjson"], &config); err != nil {
			return err
		}
		entry, ok := config.Auths[internalHost]
		if !ok {
			return fmt.Errorf("no entry for %s", internalHost)
		}
		plain, err := base64.StdEncoding.DecodeString(entry.Auth)
		if err != nil {
			return err
		}
		_, token, ok = strings.Cut(string(plain), ":")
		if !ok || token == "" {
			return fmt.Errorf("the entry holds no token")
		}
		return nil
	})
	return token
}

// Behaviour registry 57.
func TestPullSecretsPullImagesAndNothingElse(t *testing.T) {
	namespace := shared.namespace(t, "secret")
	digest := pushRandomImage(t, namespace+"/app:v1", shared.pusher(t, namespace))
	token := pullSecretToken(t, namespace, "default")

	if got := pullCompletely(t, namespace+"/app:v1", asToken(token)); got != digest {
		t.Errorf("pull with the managed secret: got %s, want %s", got, digest)
	}
	// Even with the right to push, this credential only pulls.
	shared.grant(t, namespace, "system:image-pusher", "default", namespace)
	err := remote.Write(shared.reference(t, namespace+"/app:v2"), randomImage(t), shared.remoteOptions(t, asToken(token))...)
	if status, text := refusal(t, err); status != 403 || !strings.Contains(text, "pull credential") {
		t.Errorf("push with the managed secret: got %d %s, want 403 that says it is a pull credential", status, text)
	}
	// The API server does not know the audience.
	out, err := shared.tryShell(t, "kubectl --kubeconfig=/dev/null --server=$(kubectl config view -o jsonpath='{.clusters[0].cluster.server}') --insecure-skip-tls-verify --token='"+token+"' get pods -n "+namespace)
	if err == nil || !strings.Contains(out, "Unauthorized") && !strings.Contains(out, "logged in") {
		t.Error("the API server accepts the token of a pull secret")
	}
}

// Behaviour operator 60.
func TestServiceAccountGetsAPullSecret(t *testing.T) {
	namespace := shared.namespace(t, "team-b")
	shared.shell(t, "kubectl create serviceaccount app-puller -n "+namespace)
	eventually(t, "documented check of the pull secret", func(context.Context) error {
		names := shared.shell(t, "kubectl -n "+namespace+" get sa app-puller -o jsonpath='{.imagePullSecrets[*].name}'")
		if names == "" {
			return fmt.Errorf("no name printed")
		}
		return nil
	})
}

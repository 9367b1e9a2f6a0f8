package credentials

import (
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
)

const own = "image-registry.image-registry-system.svc:5000"

func secret(namespace, name, host, user string) *corev1.Secret {
	auth := base64.StdEncoding.EncodeToString([]byte(user + ":secret"))
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Type:       corev1.SecretTypeDockerConfigJson,
		Data:       map[string][]byte{corev1.DockerConfigJsonKey: []byte(`{"auths":{"` + host + `":{"auth":"` + auth + `"}}}`)},
	}
}

type warnings []string

func (w *warnings) Warn(secret *corev1.Secret, reason, message string) {
	*w = append(*w, secret.Namespace+"/"+secret.Name+" "+reason+" "+message)
}

func source(t *testing.T, warner Warner, objects ...runtime.Object) (*Source, *fake.Clientset) {
	t.Helper()
	client := fake.NewClientset(objects...)
	source, err := New(Options{
		Secrets: client.CoreV1(), Namespace: "image-registry-system",
		ClusterSecret: func() string { return "pull-secret" }, OwnHosts: func() []string { return []string{own} }, Warner: warner,
	})
	if err != nil {
		t.Fatal(err)
	}
	return source, client
}

func users(t *testing.T, s *Source, host string) []string {
	t.Helper()
	ring, err := s.Keyring(t.Context(), "team-a")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, credential := range ring.Lookup(host, "org/app") {
		name := credential.Username
		if name == "" {
			decoded, err := base64.StdEncoding.DecodeString(credential.Auth)
			if err != nil {
				t.Fatal(err)
			}
			name, _, _ = strings.Cut(string(decoded), ":")
		}
		names = append(names, name)
	}
	return names
}

// Behaviour 39.
func TestSecretsOfTheNamespaceGoBeforeThatOfTheCluster(t *testing.T) {
	excluded := secret("team-a", "excluded", "quay.io", "excluded")
	excluded.Annotations = map[string]string{"alauda.io/image.excludeSecret": "true"}
	opaque := secret("team-a", "opaque", "quay.io", "opaque")
	opaque.Type = corev1.SecretTypeOpaque
	s, _ := source(t, nil, secret("team-a", "mine", "quay.io", "mine"), secret("team-b", "theirs", "quay.io", "theirs"),
		secret("image-registry-system", "pull-secret", "*.io", "cluster"), excluded, opaque)
	if got := users(t, s, "quay.io"); !slices.Equal(got, []string{"mine", "cluster"}) {
		t.Errorf("users are %v, want mine and cluster", got)
	}
}

// Nobody may read other namespaces with what the cluster has.
func TestTheClustersSecretIsNotForThisRegistry(t *testing.T) {
	s, _ := source(t, nil, secret("image-registry-system", "pull-secret", own, "cluster"), secret("team-a", "mine", own, "mine"))
	if got := users(t, s, own); !slices.Equal(got, []string{"mine"}) {
		t.Errorf("users are %v, want mine alone", got)
	}
}

// A user could name any host insecure, and answer in its name.
func TestTheClustersSecretIsForVerifiedRegistries(t *testing.T) {
	s, _ := source(t, nil, secret("image-registry-system", "pull-secret", "quay.io", "cluster"), secret("team-a", "mine", "quay.io", "mine"))
	ring, err := s.Keyring(t.Context(), "team-a")
	if err != nil {
		t.Fatal(err)
	}
	if n := len(ring.Unverified().Lookup("quay.io", "org/app")); n != 1 {
		t.Errorf("%d credentials for a registry that is not verified, want that of the namespace alone", n)
	}
}

// Behaviour 39.
func TestAMalformedSecretIsLeftOutAndReported(t *testing.T) {
	broken := secret("team-a", "broken", "quay.io", "x")
	broken.Data[corev1.DockerConfigJsonKey] = []byte(`{"auths": "hunter2`)
	var told warnings
	s, _ := source(t, &told, broken, secret("team-a", "mine", "quay.io", "mine"))
	if got := users(t, s, "quay.io"); !slices.Equal(got, []string{"mine"}) {
		t.Errorf("users are %v, want mine", got)
	}
	if len(told) != 1 || !strings.HasPrefix(told[0], "team-a/broken MalformedPullSecret ") || strings.Contains(told[0], "hunter2") {
		t.Errorf("warnings are %v", told)
	}
}

func TestAServerThatMayNotListSecretsUsesTheClustersAlone(t *testing.T) {
	s, client := source(t, nil, secret("image-registry-system", "pull-secret", "quay.io", "cluster"), secret("team-a", "mine", "quay.io", "mine"))
	client.PrependReactor("list", "secrets", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(corev1.Resource("secrets"), "", errors.New("no"))
	})
	if got := users(t, s, "quay.io"); !slices.Equal(got, []string{"cluster"}) {
		t.Errorf("users are %v, want cluster", got)
	}
	client.PrependReactor("list", "secrets", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, errors.New("connection refused")
	})
	if _, err := s.Keyring(context.Background(), "team-a"); err == nil {
		t.Error("an API that does not answer looks like no credentials")
	}
}

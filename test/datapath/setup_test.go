//go:build component

package datapath

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/client-go/rest"

	"image.alauda.io/registry/manifests"
	"image.alauda.io/registry/pkg/registry/app"
	"image.alauda.io/registry/test/controlplane"
	"image.alauda.io/registry/test/imageapi"
)

const (
	audience = "image-registry.alauda.io"
	account  = "image-registry"
)

var shared = controlplane.NewShared()

func TestMain(m *testing.M) { os.Exit(shared.Main(m)) }

// environment is a registry with everything that it talks to.
type environment struct {
	*imageapi.Server
	// host is the registry's address, plain HTTP.
	host string
	// storage is the directory of the blobs.
	storage string
	// config is the file of its configuration.
	config string
}

func start(t *testing.T) *environment {
	t.Helper()
	e := &environment{Server: imageapi.Start(t, shared.Get(t), "--config="+apiConfig(t)), storage: t.TempDir()}
	imageapi.Apply(t, e.CP.Config, "image-registry", "rbac.yaml")
	imageapi.Apply(t, e.CP.Config, manifests.Shared, "user-roles.yaml")

	e.host = freeAddress(t)
	e.config = e.registryConfig(t, nil, "", "pullthrough: {deniedcidrs: [], dockerconfigpaths: []}")
	e.serveAt(t, e.config, "http://"+e.host, http.DefaultClient)
	return e
}

// registryConfig writes the configuration of a registry at the host of the environment. It
// asks the given API server, nil for the real one with the account of the registry; http and
// alauda are more settings of these sections.
func (e *environment) registryConfig(t *testing.T, api *rest.Config, http, alauda string) string {
	t.Helper()
	if api == nil {
		api = imageapi.ServiceAccountConfig(e.CP, account)
	}
	kubeconfig, err := e.CP.WriteKubeconfig("registry-"+rand.String(5), api)
	must(t, err)
	config := filepath.Join(t.TempDir(), "config.yml")
	must(t, os.WriteFile(config, fmt.Appendf(nil, `version: 0.1
storage: {filesystem: {rootdirectory: %q}}
http: {addr: %q, draintimeout: 5s%s}
log: {accesslog: {disabled: true}}
alauda:
  kubeconfig: %q
  server: {addr: %q}
  http: {shutdowndelay: 0s}
  %s
`, e.storage, e.host, http, kubeconfig, imageapi.InternalHost, alauda), 0o600))
	return config
}

// reply is what the registry said, read completely.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// send makes one request; login may be nil for a client that logs in by itself.
func send(t *testing.T, client *http.Client, method, url string, login authn.Authenticator, body []byte) reply {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(body))
	must(t, err)
	if login != nil {
		credentials, err := login.Authorization()
		must(t, err)
		request.SetBasicAuth(credentials.Username, credentials.Password)
		if credentials.RegistryToken != "" {
			request.Header.Set("Authorization", "Bearer "+credentials.RegistryToken)
		}
	}
	response, err := client.Do(request)
	must(t, err)
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	must(t, err)
	return reply{response.StatusCode, response.Header, raw}
}

// freeAddress is an address on which nothing listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	must(t, listener.Close())
	return listener.Addr().String()
}

// apiConfig lets imports read from this machine.
func apiConfig(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "api.yaml")
	text := "apiVersion: config.image.alauda.io/v1\nkind: ImageAPIServerConfig\ninternalRegistryHostname: " + imageapi.InternalHost +
		"\nimageImport:\n  deniedCIDRs: []\n  rateLimits: {default: {qps: 1000, burst: 1000}}\n"
	must(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// serveAt runs the registry until the test ends.
func (e *environment) serveAt(t *testing.T, config, url string, client *http.Client) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		var stderr bytes.Buffer
		if code := app.Run(ctx, []string{config}, io.Discard, &stderr); code != 0 {
			t.Errorf("image-registry ended with code %d: %s", code, stderr.String())
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	awaitReady(t, url, client)
}

func awaitReady(t *testing.T, url string, client *http.Client) {
	t.Helper()
	imageapi.Eventually(t, "the registry is ready", func(context.Context) error {
		response, err := client.Get(url + "/readyz")
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return errors.New(response.Status)
		}
		return nil
	})
}

// namespace creates a namespace for the test, with a name of its own.
func (e *environment) namespace(t *testing.T) string {
	t.Helper()
	name := strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(t.Name())) + "-" + rand.String(5)
	imageapi.CreateNamespace(t, e.Kube, name)
	return name
}

// grant creates a ServiceAccount with the ClusterRoles, in its namespace only.
func (e *environment) grant(t *testing.T, namespace, name string, roles ...string) {
	t.Helper()
	object := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if _, err := e.Kube.CoreV1().ServiceAccounts(namespace).Create(t.Context(), object, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, role := range roles {
		binding := &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{GenerateName: name + "-"},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: name}},
		}
		if _, err := e.Kube.RbacV1().RoleBindings(namespace).Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

// token requests a token, bound to a Secret when one is given.
func (e *environment) token(t *testing.T, namespace, account string, secret *corev1.Secret, audiences ...string) authn.Authenticator {
	t.Helper()
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: audiences}}
	if secret != nil {
		request.Spec.BoundObjectRef = &authenticationv1.BoundObjectReference{Kind: "Secret", APIVersion: "v1", Name: secret.Name, UID: secret.UID}
	}
	issued, err := e.Kube.CoreV1().ServiceAccounts(namespace).CreateToken(t.Context(), account, request, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return &authn.Basic{Username: account, Password: issued.Status.Token}
}

// user is a ServiceAccount with roles and a token for the API server.
func (e *environment) user(t *testing.T, namespace, name string, roles ...string) authn.Authenticator {
	t.Helper()
	e.grant(t, namespace, name, roles...)
	return e.token(t, namespace, name, nil)
}

// allowEverywhere binds a ServiceAccount to a ClusterRole in all namespaces.
func (e *environment) allowEverywhere(t *testing.T, namespace, name, role string) {
	t.Helper()
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: namespace + "-" + name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: name}},
	}
	if _, err := e.Kube.RbacV1().ClusterRoleBindings().Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func (e *environment) tag(t *testing.T, repository, tag string) name.Tag {
	t.Helper()
	parsed, err := name.NewTag(e.host + "/" + repository + ":" + tag)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func (e *environment) digest(t *testing.T, repository string, digest v1.Hash) name.Digest {
	t.Helper()
	parsed, err := name.NewDigest(e.host + "/" + repository + "@" + digest.String())
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// as are the options of the client library for a user; one answer counts, without retries.
func as(t *testing.T, auth authn.Authenticator) []remote.Option {
	t.Helper()
	return []remote.Option{
		remote.WithAuth(auth), remote.WithContext(t.Context()),
		remote.WithRetryStatusCodes(), remote.WithRetryPredicate(func(error) bool { return false }),
	}
}

// refused checks the status and the text of an answer.
func refused(t *testing.T, what string, err error, status int, text string) {
	t.Helper()
	var answer *transport.Error
	if !errors.As(err, &answer) || answer.StatusCode != status || !strings.Contains(err.Error(), text) {
		t.Errorf("%s: %v, want status %d with %q", what, err, status, text)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func hash(t *testing.T, object interface{ Digest() (v1.Hash, error) }) v1.Hash {
	t.Helper()
	digest, err := object.Digest()
	must(t, err)
	return digest
}

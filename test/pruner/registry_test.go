//go:build component

package pruner

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	imagev1 "image.alauda.io/api/image/v1"
	imageregistryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/manifests"
	"image.alauda.io/registry/pkg/pruner/app"
	registryapp "image.alauda.io/registry/pkg/registry/app"
	"image.alauda.io/registry/test/imageapi"
	"image.alauda.io/registry/test/pulled"
)

const (
	// registryProcess makes the test binary the registry, with the configuration that it names.
	registryProcess = "PRUNER_TEST_REGISTRY_CONFIG"
	// longAgo is older than every age that matters.
	longAgo = 100 * time.Hour
)

// TestRegistryProcess is no test: it is the registry in a process of its own, which remembers nothing of the
// one before.
func TestRegistryProcess(t *testing.T) {
	config := os.Getenv(registryProcess)
	if config == "" {
		t.Skip("only a process of another test")
	}
	os.Exit(registryapp.Run(context.Background(), []string{config}, io.Discard, os.Stderr))
}

// storehouse is the environment with a registry and its storage.
type storehouse struct {
	*environment
	// host is the registry's address, plain HTTP; storage the directory of its blobs.
	host, storage string
	kubeconfig    string
	process       *exec.Cmd
	// token is the file of the pruner's ServiceAccount.
	token string
	// pusher may push and pull everywhere.
	pusher authn.Authenticator
}

func startStorehouse(t *testing.T) *storehouse {
	t.Helper()
	s := &storehouse{environment: start(t), storage: t.TempDir()}
	imageapi.Apply(t, s.CP.Config, "image-registry", "rbac.yaml")
	imageapi.Apply(t, s.CP.Config, manifests.Shared, "user-roles.yaml")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	fatal(t, err)
	s.host = listener.Addr().String()
	fatal(t, listener.Close())
	s.kubeconfig, err = s.CP.WriteKubeconfig("registry", imageapi.ServiceAccountConfig(s.CP, imageregistryv1.RegistryName))
	fatal(t, err)
	s.token = filepath.Join(t.TempDir(), "token")
	fatal(t, os.WriteFile(s.token, []byte(s.issue(t, imageregistryv1.DefaultNamespace, "pruner")), 0o600))
	s.pusher = s.newPusher(t)
	t.Cleanup(s.kill)
	s.serve(t, "")
	return s
}

func fatal(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (s *storehouse) issue(t *testing.T, namespace, account string) string {
	t.Helper()
	issued, err := s.Kube.CoreV1().ServiceAccounts(namespace).CreateToken(t.Context(), account, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	fatal(t, err)
	return issued.Status.Token
}

func (s *storehouse) newPusher(t *testing.T) authn.Authenticator {
	t.Helper()
	namespace := s.namespace(t)
	_, err := s.Kube.CoreV1().ServiceAccounts(namespace).Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "pusher"}}, metav1.CreateOptions{})
	fatal(t, err)
	_, err = s.Kube.RbacV1().ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: namespace},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "system:image-pusher"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: "pusher"}},
	}, metav1.CreateOptions{})
	fatal(t, err)
	return &authn.Bearer{Token: s.issue(t, namespace, "pusher")}
}

// serve starts a registry with the smallest age that is safe while pushes are served; storage are more
// settings of that section.
func (s *storehouse) serve(t *testing.T, storage string) {
	t.Helper()
	config := filepath.Join(t.TempDir(), "config.yml")
	fatal(t, os.WriteFile(config, fmt.Appendf(nil, `version: 0.1
storage: {filesystem: {rootdirectory: %q}%s}
http: {addr: %q, draintimeout: 5s, secret: of all processes}
log: {accesslog: {disabled: true}}
alauda:
  kubeconfig: %q
  server: {addr: %q}
  http: {shutdowndelay: 0s}
  gc: {minage: 10m, verifydelay: 200ms}
`, s.storage, storage, s.host, s.kubeconfig, imageapi.InternalHost), 0o600))
	s.process = exec.Command(os.Args[0], "-test.run=^TestRegistryProcess$")
	s.process.Env = append(os.Environ(), registryProcess+"="+config)
	s.process.Stderr = os.Stderr
	fatal(t, s.process.Start())
	imageapi.Eventually(t, "the registry is ready", func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.host+"/readyz", nil)
		if err != nil {
			return err
		}
		response, err := http.DefaultClient.Do(request)
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

func (s *storehouse) kill() {
	if s.process != nil {
		_ = s.process.Process.Kill()
		_ = s.process.Wait()
		s.process = nil
	}
}

// later lets a long time pass for everything in the storage and for the lease of collections. The registry
// is another process then, because one remembers what it relied on; storage are settings for it.
func (s *storehouse) later(t *testing.T, storage string) {
	t.Helper()
	s.kill()
	at := time.Now().Add(-longAgo)
	fatal(t, filepath.WalkDir(s.storage, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chtimes(path, at, at)
	}))
	leases := s.Kube.CoordinationV1().Leases(imageregistryv1.DefaultNamespace)
	lease, err := leases.Get(t.Context(), imagev1.GCLeaseName, metav1.GetOptions{})
	if err == nil {
		lease.Spec.RenewTime = ptr.To(metav1.NewMicroTime(at))
		_, err = leases.Update(t.Context(), lease, metav1.UpdateOptions{})
	}
	if err != nil && !apierrors.IsNotFound(err) {
		t.Fatal(err)
	}
	s.serve(t, storage)
}

// pruner runs a command of the pruner as the user of the runner; the registry gets the token of the
// pruner's ServiceAccount.
func (s *storehouse) pruner(ctx context.Context, r *runner, args ...string) (code int, stdout, stderr string) {
	var out, problems bytes.Buffer
	args = append(args, "--kubeconfig="+r.kubeconfig, "--registry-url=http://"+s.host, "--registry-token-file="+s.token)
	code = app.Run(ctx, args, &out, &problems)
	return code, out.String(), problems.String()
}

func (s *storehouse) options(ctx context.Context) []remote.Option {
	return []remote.Option{
		remote.WithAuth(s.pusher), remote.WithContext(ctx),
		remote.WithRetryStatusCodes(), remote.WithRetryPredicate(func(error) bool { return false }),
	}
}

func (s *storehouse) reference(t *testing.T, text string) name.Reference {
	t.Helper()
	parsed, err := name.ParseReference(s.host + "/" + text)
	fatal(t, err)
	return parsed
}

// pushImage pushes a new image under the tag and returns it.
func (s *storehouse) pushImage(t *testing.T, reference string) v1.Image {
	t.Helper()
	image, err := random.Image(2048, 2)
	fatal(t, err)
	fatal(t, remote.Write(s.reference(t, reference), image, s.options(t.Context())...))
	return image
}

// pullAll pulls an image with all its blobs.
func (s *storehouse) pullAll(t *testing.T, reference string) {
	t.Helper()
	image, err := remote.Image(s.reference(t, reference), s.options(t.Context())...)
	if err == nil {
		err = pulled.Verify(image)
	}
	if err != nil {
		t.Errorf("%s cannot be pulled: %v", reference, err)
	}
}

type digester interface{ Digest() (v1.Hash, error) }

func sum(t *testing.T, object digester) string {
	t.Helper()
	digest, err := object.Digest()
	fatal(t, err)
	return digest.String()
}

// layersOf returns the digests of layers and config.
func layersOf(t *testing.T, image v1.Image) []string {
	t.Helper()
	layers, err := image.Layers()
	fatal(t, err)
	config, err := image.ConfigName()
	fatal(t, err)
	digests := []string{config.String()}
	for _, layer := range layers {
		digests = append(digests, sum(t, layer))
	}
	return digests
}

// stored tells whether the bytes of a digest are in the storage, linked whether a repository has a link of
// the kind, which is _layers or _manifests/revisions.
func (s *storehouse) stored(t *testing.T, digest string) bool {
	t.Helper()
	hex := strings.TrimPrefix(digest, "sha256:")
	return s.exists(t, "blobs/sha256", hex[:2], hex, "data")
}

func (s *storehouse) linked(t *testing.T, repository, kind, digest string) bool {
	t.Helper()
	return s.exists(t, "repositories", repository, kind, "sha256", strings.TrimPrefix(digest, "sha256:"), "link")
}

func (s *storehouse) exists(t *testing.T, path ...string) bool {
	t.Helper()
	_, err := os.Stat(filepath.Join(append([]string{s.storage, "docker/registry/v2"}, path...)...))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return err == nil
}

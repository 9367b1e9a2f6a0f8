//go:build clients

package clients

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
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
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"image.alauda.io/registry/test/pulled"
)

// internalHost is the name by which nodes know the registry.
const internalHost = "image-registry.image-registry-system.svc:5000"

// commandTimeout bounds one script; nothing asserts how long something takes.
const commandTimeout = 4 * time.Minute

// prelude is known to all scripts. `grep -q` would leave its writer before it is done.
const prelude = "has() { grep \"$@\" >/dev/null; }\n"

// installation is where things are, the same for all tests.
type installation struct {
	root, output, cluster, registry, authorities string
	transport                                    http.RoundTripper
}

func connect(t *testing.T) *installation {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	i := &installation{root: root, output: filepath.Join(root, "_output")}
	i.cluster = filepath.Join(i.output, "devcluster")
	i.registry = "127.0.0.1:5000"
	if host := os.Getenv("REGISTRY_HOST"); host != "" {
		i.registry = host
	}
	registryCA, err := os.ReadFile(filepath.Join(i.cluster, "registry-ca.crt"))
	if err != nil {
		t.Fatalf("this needs the development cluster, run `make up`: %v", err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(registryCA)
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	i.transport = transport
	i.authorities = filepath.Join(t.TempDir(), "authorities.pem")
	if err := os.WriteFile(i.authorities, registryCA, 0o600); err != nil {
		t.Fatal(err)
	}
	return i
}

// desk is where one client works: two namespaces to push to, a stranger without any right, an
// image in the forms that clients read, and an empty home.
type desk struct {
	*installation
	ours, other, strangers string
	token, strangerToken   string
	dir                    string
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{installation: connect(t), dir: t.TempDir()}
	d.ours, d.other, d.strangers = d.namespace(t), d.namespace(t), d.namespace(t)
	for _, namespace := range []string{d.ours, d.other} {
		d.run(t, fmt.Sprintf("kubectl -n %s create rolebinding view --clusterrole=view --serviceaccount=%s:builder", namespace, d.ours))
		d.run(t, fmt.Sprintf("kubectl -n %s create rolebinding push --clusterrole=system:image-pusher --serviceaccount=%s:builder", namespace, d.ours))
	}
	d.token = d.account(t, d.ours, "builder")
	d.strangerToken = d.account(t, d.strangers, "stranger")
	d.writeImage(t)
	return d
}

func (d *desk) namespace(t *testing.T) string {
	t.Helper()
	name := strings.TrimSpace(d.run(t, `kubectl create -o jsonpath={.metadata.name} -f - <<<'{"apiVersion":"v1","kind":"Namespace","metadata":{"generateName":"clients-"}}'`))
	t.Cleanup(func() {
		if out, err := d.try(t, nil, "kubectl delete namespace --wait=false "+name); err != nil {
			t.Errorf("namespace %s: %v\n%s", name, err, out)
		}
	})
	return name
}

func (d *desk) account(t *testing.T, namespace, name string) string {
	t.Helper()
	d.run(t, fmt.Sprintf("kubectl -n %s create serviceaccount %s", namespace, name))
	return strings.TrimSpace(d.run(t, fmt.Sprintf("kubectl -n %s create token %s", namespace, name)))
}

// writeImage leaves a random image as image.tar (docker save) and oci (an OCI layout).
func (d *desk) writeImage(t *testing.T) {
	t.Helper()
	config := v1.ConfigFile{OS: "linux", Architecture: "amd64", RootFS: v1.RootFS{Type: "layers"}, Config: v1.Config{Cmd: []string{"/nothing"}}}
	image, err := mutate.ConfigFile(mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON), &config)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		layer, err := random.Layer(64<<10, types.OCILayer)
		if err != nil {
			t.Fatal(err)
		}
		if image, err = mutate.AppendLayers(image, layer); err != nil {
			t.Fatal(err)
		}
	}
	tag, err := name.NewTag(d.registry + "/" + d.ours + "/app:v1")
	if err != nil {
		t.Fatal(err)
	}
	if err := tarball.WriteToFile(filepath.Join(d.dir, "image.tar"), tag, image); err != nil {
		t.Fatal(err)
	}
	directory, err := layout.Write(filepath.Join(d.dir, "oci"), empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := directory.AppendImage(image, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": "v1"})); err != nil {
		t.Fatal(err)
	}
}

// run executes a script as the account that may push, in the desk's directory.
func (d *desk) run(t *testing.T, script string) string {
	t.Helper()
	out, err := d.try(t, d.env("builder", d.token), script)
	if err != nil {
		t.Fatalf("$ %s\n%s\n%v", script, out, err)
	}
	return out
}

// refused executes a script as somebody without any right and returns what the client said.
func (d *desk) refused(t *testing.T, login, script string) string {
	t.Helper()
	env := d.env("stranger", d.strangerToken)
	if out, err := d.try(t, env, login); err != nil {
		t.Fatalf("$ %s\n%s\n%v", login, out, err)
	}
	out, err := d.try(t, env, script)
	if err == nil {
		t.Errorf("$ %s\nsucceeded without permission:\n%s", script, out)
	}
	return out
}

// env is a clean environment: nobody's own logins and settings are read or changed.
func (d *desk) env(person, token string) []string {
	home := filepath.Join(d.dir, person)
	bin := []string{filepath.Join(d.output, "clients"), filepath.Join(d.cluster, "bin"), filepath.Join(d.output, "bin"), os.Getenv("PATH")}
	return []string{
		"PATH=" + strings.Join(bin, ":"), "HOME=" + home, "TMPDIR=" + d.dir, "LANG=C.UTF-8",
		"XDG_CONFIG_HOME=" + home + "/.config", "XDG_RUNTIME_DIR=" + home + "/run", "XDG_CACHE_HOME=" + home + "/.cache", "XDG_DATA_HOME=" + home + "/.data",
		"REGISTRY_AUTH_FILE=" + home + "/auth.json", "SSL_CERT_FILE=" + d.authorities,
		"KUBECONFIG=" + filepath.Join(d.cluster, "kubeconfig"),
		// What a client looks for outside (the roots of public transparency logs) is refused here.
		"HTTPS_PROXY=http://127.0.0.1:1", "NO_PROXY=127.0.0.1,localhost",
		"REGISTRY=" + d.registry, "INTERNAL=" + internalHost, "CA=" + d.authorities, "TOKEN=" + token,
		"OURS=" + d.ours, "OTHER=" + d.other,
	}
}

func (d *desk) try(t *testing.T, env []string, script string) (string, error) {
	t.Helper()
	if env == nil {
		env = d.env("builder", d.token)
	}
	home := ""
	for _, variable := range env {
		if value, ok := strings.CutPrefix(variable, "HOME="); ok {
			home = value
		}
	}
	for _, directory := range []string{home, home + "/run"} {
		if err := os.MkdirAll(directory, 0o700); err != nil {
			return "", err
		}
	}
	// not the test's own context: clean-up functions run commands as well
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), commandTimeout)
	defer cancel()
	command := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", prelude+script)
	command.Dir, command.Env = d.dir, env
	var out bytes.Buffer
	command.Stdout, command.Stderr = &out, &out
	err := command.Run()
	text := out.String()
	for _, token := range []string{d.token, d.strangerToken} {
		if token != "" {
			text = strings.ReplaceAll(text, token, "…")
		}
	}
	return text, err
}

// pulled reads an image of the registry completely, checking all digests, by other means than the
// client under test, and returns its digest.
func (d *desk) pulled(t *testing.T, repository string) string {
	t.Helper()
	reference, err := name.ParseReference(d.registry + "/" + repository)
	if err != nil {
		t.Fatal(err)
	}
	options := []remote.Option{remote.WithContext(t.Context()), remote.WithTransport(d.transport), remote.WithAuth(&authn.Basic{Username: "builder", Password: d.token})}
	descriptor, err := remote.Get(reference, options...)
	if err != nil {
		t.Fatalf("%s: %v", repository, err)
	}
	image, err := descriptor.Image()
	if err != nil {
		t.Fatalf("%s: %v", repository, err)
	}
	if err := pulled.Verify(image); err != nil {
		t.Fatalf("%s: %v", repository, err)
	}
	return descriptor.Digest.String()
}

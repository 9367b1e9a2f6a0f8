//go:build component

package objectstorage

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"image.alauda.io/registry/pkg/registry/app"
)

// processVariable makes the test binary the registry.
const processVariable = "OBJECTSTORAGE_PROCESS"

func process() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	return app.Run(ctx, os.Args[1:], os.Stdout, os.Stderr)
}

// output is what a process has written so far.
type output struct {
	mu  sync.Mutex
	raw bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.raw.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.raw.String()
}

// startProcess runs image-registry as the operator would: the shipped file, and everything
// else by variables.
func startProcess(t *testing.T, variables map[string]string) (url string, log *output) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	address := listener.Addr().String()
	must(t, listener.Close())
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	must(t, os.WriteFile(kubeconfig, []byte(`{"apiVersion":"v1","kind":"Config","current-context":"x","contexts":[{"name":"x","context":{"cluster":"x","user":"x"}}],`+
		`"clusters":[{"name":"x","cluster":{"server":"https://127.0.0.1:1"}}],"users":[{"name":"x","user":{}}]}`), 0o600))
	command := exec.Command(os.Args[0], filepath.Join("..", "..", "images", "image-registry", "config.yml"))
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "SSL_CERT_") && !strings.HasPrefix(entry, "REGISTRY_") {
			command.Env = append(command.Env, entry)
		}
	}
	all := map[string]string{
		processVariable: "1", "KUBECONFIG": kubeconfig, "REGISTRY_HTTP_ADDR": address, "REGISTRY_HTTP_SECRET": "shared",
		"REGISTRY_ALAUDA_SERVER_ADDR": serverAddr, "REGISTRY_ALAUDA_HTTP_SHUTDOWNDELAY": "0s", "REGISTRY_HEALTH_STORAGEDRIVER_INTERVAL": "100ms",
	}
	for key, value := range variables {
		all[key] = value
	}
	for key, value := range all {
		command.Env = append(command.Env, key+"="+value)
	}
	log = &output{}
	command.Stdout, command.Stderr = log, log
	must(t, command.Start())
	t.Cleanup(func() {
		_ = command.Process.Signal(syscall.SIGTERM)
		if err := command.Wait(); err != nil {
			t.Errorf("image-registry ended with %v: %s", err, log)
		}
	})
	return "http://" + address, log
}

// operatorVariables are those that the operator writes for S3.
func (s *s3Server) operatorVariables() map[string]string {
	return map[string]string{
		"REGISTRY_STORAGE": "s3", "REGISTRY_STORAGE_S3_BUCKET": bucket, "REGISTRY_STORAGE_S3_REGION": "us-east-1", "REGISTRY_STORAGE_S3_REGIONENDPOINT": s.url,
		"REGISTRY_STORAGE_S3_FORCEPATHSTYLE": "true", "REGISTRY_STORAGE_S3_ENCRYPT": "false", "REGISTRY_STORAGE_S3_KEYID": `""`,
		"REGISTRY_STORAGE_S3_ACCESSKEY": accessKey, "REGISTRY_STORAGE_S3_SECRETKEY": secretKey, "REGISTRY_STORAGE_REDIRECT_DISABLE": "true",
		"SSL_CERT_FILE": trusted.file,
	}
}

func probe(url string) (int, string) {
	response, err := client().Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close() //nolint:errcheck // everything was read
	raw, err := io.ReadAll(response.Body)
	return response.StatusCode, string(raw) + fmt.Sprint(err)
}

// Behaviours registry 89 and 92: by variables alone, with the CA in a file or in a directory,
// and with credentials in a file of their own.
func TestProcessIsReadyWithItsStorage(t *testing.T) {
	s3 := startS3(t)
	shared := filepath.Join(t.TempDir(), "credentials")
	must(t, os.WriteFile(shared, []byte("[default]\naws_access_key_id = "+accessKey+"\naws_secret_access_key = "+secretKey+"\n"), 0o600))
	for name, change := range map[string]map[string]string{
		"CA file":      {},
		"CA directory": {"SSL_CERT_FILE": "/nonexistent", "SSL_CERT_DIR": filepath.Dir(trusted.file)},
		"credentials file": {"REGISTRY_STORAGE_S3_ACCESSKEY": `""`, "REGISTRY_STORAGE_S3_SECRETKEY": `""`,
			"AWS_SHARED_CREDENTIALS_FILE": shared, "AWS_SDK_LOAD_CONFIG": "true"},
	} {
		t.Run(name, func(t *testing.T) {
			variables := s3.operatorVariables()
			for key, value := range change {
				variables[key] = value
			}
			url, log := startProcess(t, variables)
			eventually(t, "the registry is ready", func() error {
				if status, text := probe(url + "/readyz"); status != http.StatusOK {
					return fmt.Errorf("status %d: %s\n%s", status, text, log)
				}
				return nil
			})
		})
	}
}

// Behaviours registry 92 and 95: what is wrong with the storage keeps the process from being
// ready, not alive, and the log says what, where and nothing secret.
func TestProcessWithoutItsStorageSaysWhy(t *testing.T) {
	s3 := startS3(t)
	for name, c := range map[string]struct{ key, value, want string }{
		"unknown CA":     {"SSL_CERT_FILE", "/nonexistent", "certificate signed by unknown authority"},
		"missing bucket": {"REGISTRY_STORAGE_S3_BUCKET", "nowhere", "NoSuchBucket"},
		"wrong secret":   {"REGISTRY_STORAGE_S3_SECRETKEY", "guessed-by-somebody", "SignatureDoesNotMatch"},
		"no server":      {"REGISTRY_STORAGE_S3_REGIONENDPOINT", "https://127.0.0.1:1", "connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			variables := s3.operatorVariables()
			variables[c.key] = c.value
			url, log := startProcess(t, variables)
			eventually(t, "the log says why", func() error {
				if text := log.String(); !strings.Contains(text, c.want) || !strings.Contains(text, "S3 bucket") {
					return fmt.Errorf("log: %s", text)
				}
				return nil
			})
			if status, text := probe(url + "/readyz"); status != http.StatusServiceUnavailable {
				t.Errorf("/readyz has status %d: %s", status, text)
			}
			if status, _ := probe(url + "/livez"); status != http.StatusOK {
				t.Errorf("/livez has status %d", status)
			}
			for _, secret := range []string{secretKey, "guessed-by-somebody", "Signature="} {
				if strings.Contains(log.String(), secret) {
					t.Errorf("the log shows %q", secret)
				}
			}
		})
	}
}

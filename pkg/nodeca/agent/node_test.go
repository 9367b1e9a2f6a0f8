package agent

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	clocktesting "k8s.io/utils/clock/testing"

	"image.alauda.io/registry/pkg/nodeca/inputs"
)

func certificate(notAfter time.Time) string {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: started.Add(-48 * time.Hour), NotAfter: notAfter}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// node is a node in temporary directories.
type node struct {
	t       testing.TB
	options Options
	clock   *clocktesting.FakeClock
	agent   *Agent
	log     *bytes.Buffer
	certs   map[string]string
	hosts   string
}

func newNode(t testing.TB, files ...string) *node {
	t.Helper()
	top := t.TempDir()
	n := &node{t: t, clock: clocktesting.NewFakeClock(started), log: &bytes.Buffer{}, options: Defaults()}
	n.options.HostEtc = filepath.Join(top, "etc")
	n.options.CertificatesDir = filepath.Join(top, "certificates")
	n.options.ConfigDir = filepath.Join(top, "config")
	n.options.StateDir = filepath.Join(top, "run")
	n.options.MetricsAddr = ""
	for _, dir := range []string{n.options.HostEtc, n.options.CertificatesDir, n.options.ConfigDir, n.options.StateDir} {
		n.must(os.Mkdir(dir, 0o755))
	}
	for _, name := range append(files, "hosts=127.0.0.1 localhost\n") {
		name, text, isFile := strings.Cut(name, "=")
		path := filepath.Join(n.options.HostEtc, name)
		if !isFile {
			n.must(os.MkdirAll(path, 0o755))
			continue
		}
		n.must(os.MkdirAll(filepath.Dir(path), 0o755))
		n.must(os.WriteFile(path, []byte(text), 0o644))
	}
	n.certs = map[string]string{ownKey: certificate(started.Add(24 * time.Hour))}
	n.hosts = fmt.Sprintf(`[{"ip":%q,"names":["image-registry.image-registry-system.svc"]}]`, address)
	n.restart()
	return n
}

func (n *node) must(err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatal(err)
	}
}

// restart makes a new agent that remembers nothing.
func (n *node) restart() {
	n.t.Helper()
	n.must(n.options.Validate())
	core := zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(n.log), zapcore.DebugLevel)
	n.agent = New(n.options, n.clock, zap.New(core), NewMetrics())
}

// publish writes both volumes in the way of the kubelet; an empty hash means the right one.
func (n *node) publish(hash string) {
	n.t.Helper()
	values := map[string][]byte{}
	for key, value := range n.certs {
		values[key] = []byte(value)
	}
	if hash == "" {
		hash = inputs.Hash(values)
	}
	n.volume(n.options.CertificatesDir, values)
	n.volume(n.options.ConfigDir, map[string][]byte{"config.json": fmt.Appendf(nil,
		`{"version":1,"hash":%q,"hosts":%s,"registries":[%q],"runtimes":["containerd://1.7.27"]}`, hash, n.hosts, ownHost)})
}

func (n *node) volume(dir string, values map[string][]byte) {
	n.t.Helper()
	version, err := os.MkdirTemp(dir, "..v")
	n.must(err)
	for key, value := range values {
		n.must(os.WriteFile(filepath.Join(version, key), value, 0o644))
	}
	n.must(os.Symlink(filepath.Base(version), filepath.Join(dir, "..fresh")))
	n.must(os.Rename(filepath.Join(dir, "..fresh"), filepath.Join(dir, "..data")))
}

func (n *node) pass() Status { return n.agent.Pass(context.Background()) }

func (n *node) read(name string) string {
	data, err := os.ReadFile(filepath.Join(n.options.HostEtc, name))
	if err != nil {
		return ""
	}
	return string(data)
}

func (n *node) snapshot() map[string]string {
	n.t.Helper()
	all := map[string]string{}
	n.must(filepath.WalkDir(n.options.HostEtc, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		all[path] = info.Mode().String()
		if info.Mode().IsRegular() {
			data, err := os.ReadFile(path)
			all[path] += string(data)
			return err
		}
		return nil
	}))
	return all
}

func words(status Status) string {
	var all []string
	for _, reason := range status.Reasons {
		all = append(all, reason.Reason)
	}
	return strings.Join(slices.Compact(all), " ")
}

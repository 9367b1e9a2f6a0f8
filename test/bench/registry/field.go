package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	benchNamespace   = "bench"
	pullRepository   = benchNamespace + "/pull"
	tagsRepository   = benchNamespace + "/tags"
	tagCount         = 10_000
	repositoryCount  = 20_000
	registryAddress  = "image-registry.bench.svc:5000"
	contenderOurs    = "this registry"
	contenderStock   = "distribution"
	contenderFiles   = "ServeContent"
	blobsBelow       = "docker/registry/v2/blobs/sha256"
	repositoriesPart = "docker/registry/v2/repositories"
)

// benchToken has the form and the size of a service account's.
var benchToken = strings.Join([]string{"eyJhbGciOiJSUzI1NiJ9", base64.RawURLEncoding.EncodeToString([]byte(`{"aud":["image-registry.alauda.io"],` +
	`"exp":4102444800,"iat":1700000000,"iss":"https://kubernetes.default.svc","kubernetes.io":{"namespace":"bench",` +
	`"serviceaccount":{"name":"builder","uid":"5f0d1f4a-0b61-4f4a-8b0e-6f7b8f0c8d11"}},"nbf":1700000000,"sub":"system:serviceaccount:bench:builder"}`)),
	strings.Repeat("signature-", 34)}, ".")

// contender is one of the servers that take turns.
type contender struct {
	name string
	*process
	token string
	// storage is the root of a registry, "" for the file server.
	storage string
	// api is the process behind, nil if there is none.
	api   *process
	start func(ctx context.Context) (time.Duration, error)
}

// field is everything that runs.
type field struct {
	dir        string
	options    options
	pair       pair
	api        *process
	contenders []*contender
	// image is what is pulled.
	image manifestContent
	// kept are the blobs that must survive the cleaning after pushes, by directory name.
	kept map[string]bool
}

// newField builds the programs and starts them.
func newField(ctx context.Context, dir string, o options) (*field, error) {
	f := &field{dir: dir, options: o, kept: map[string]bool{}}
	var err error
	if f.pair, err = newPair(dir); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	ours, err := build(ctx, dir, "image-registry", "image.alauda.io/registry/cmd/image-registry")
	if err != nil {
		return nil, err
	}
	argv := []string{ours}
	if o.profile != "" {
		argv = []string{self, "serve", "registry"}
	}
	stock, err := build(ctx, dir, "distribution", "github.com/distribution/distribution/v3/cmd/registry")
	if err != nil {
		return nil, err
	}
	if err := f.startAPI(ctx, self); err != nil {
		f.stop()
		return nil, err
	}
	for _, add := range []func(context.Context) error{
		func(ctx context.Context) error { return f.addRegistry(ctx, argv) },
		func(ctx context.Context) error { return f.addStock(ctx, stock) },
		func(ctx context.Context) error { return f.addFiles(ctx, self) },
	} {
		if err := add(ctx); err != nil {
			f.stop()
			return nil, err
		}
	}
	return f, nil
}

func (f *field) stop() {
	for _, c := range f.contenders {
		c.stop()
	}
	f.api.stop()
}

// log is where the output of a server goes.
func (f *field) log(contender string) string {
	return filepath.Join(f.dir, logName(contender)+".log")
}

func logName(contender string) string { return strings.ReplaceAll(contender, " ", "-") }

func (f *field) client(clients int) *http.Client {
	return newClient(f.pair.client, clients, f.options.http2)
}

func (f *field) startAPI(ctx context.Context, self string) error {
	address, err := freeAddress()
	if err != nil {
		return err
	}
	f.api, _, err = startProcess(ctx, f.dir, "api", address, "/", f.client(1), nil,
		self, "serve", "api", "-address", address, "-cert", f.pair.certificate, "-key", f.pair.key, "-server", registryAddress)
	return err
}

// add starts a contender now and keeps how, for later starts.
func (f *field) add(ctx context.Context, c *contender, address, ready string, env []string, argv ...string) error {
	c.start = func(ctx context.Context) (took time.Duration, err error) {
		client := f.client(1)
		defer client.CloseIdleConnections()
		c.process, took, err = startProcess(ctx, f.dir, logName(c.name), address, ready, client, env, argv...)
		return took, err
	}
	if _, err := c.start(ctx); err != nil {
		return err
	}
	f.contenders = append(f.contenders, c)
	return nil
}

func (f *field) write(name, content string) (string, error) {
	path := filepath.Join(f.dir, name)
	return path, os.WriteFile(path, []byte(content), 0o600)
}

func (f *field) addRegistry(ctx context.Context, argv []string) error {
	address, err := freeAddress()
	if err != nil {
		return err
	}
	kubeconfig, err := f.write("kubeconfig", fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: bench, cluster: {server: "%s", certificate-authority: "%s"}}]
users: [{name: registry, user: {token: registry}}]
contexts: [{name: bench, context: {cluster: bench, user: registry}}]
current-context: bench
`, f.api.url, f.pair.certificate))
	if err != nil {
		return err
	}
	storage := filepath.Join(f.dir, "ours")
	file, err := f.write("ours.yml", fmt.Sprintf(`version: 0.1
storage: {filesystem: {rootdirectory: "%s"}}
http: {addr: "%s", secret: secret-of-the-benchmark, tls: {certificate: "%s", key: "%s"}}
alauda: {kubeconfig: "%s", server: {addr: "%s"}}
`, storage, address, f.pair.certificate, f.pair.key, kubeconfig, registryAddress))
	if err != nil {
		return err
	}
	c := &contender{name: contenderOurs, token: benchToken, storage: storage, api: f.api}
	var env []string
	if f.options.profile != "" {
		env = []string{profileVariable + "=" + f.options.profile}
	}
	return f.add(ctx, c, address, "/readyz", env, append(argv, file)...)
}

func (f *field) addStock(ctx context.Context, binary string) error {
	address, err := freeAddress()
	if err != nil {
		return err
	}
	storage := filepath.Join(f.dir, "stock")
	file, err := f.write("stock.yml", fmt.Sprintf(`version: 0.1
log: {level: info}
storage: {cache: {blobdescriptor: inmemory}, filesystem: {rootdirectory: "%s"}}
http: {addr: "%s", secret: secret-of-the-benchmark, tls: {certificate: "%s", key: "%s"}}
health: {storagedriver: {enabled: true, interval: 10s, threshold: 3}}
`, storage, address, f.pair.certificate, f.pair.key))
	if err != nil {
		return err
	}
	c := &contender{name: contenderStock, storage: storage}
	// Its exporter of traces would look for a collector on every start.
	return f.add(ctx, c, address, "/v2/", []string{"OTEL_TRACES_EXPORTER=none"}, binary, "serve", file)
}

func (f *field) addFiles(ctx context.Context, self string) error {
	address, err := freeAddress()
	if err != nil {
		return err
	}
	files := filepath.Join(f.dir, "files")
	if err := os.Mkdir(files, 0o700); err != nil {
		return err
	}
	return f.add(ctx, &contender{name: contenderFiles}, address, "/", nil,
		self, "serve", "files", "-address", address, "-cert", f.pair.certificate, "-key", f.pair.key, "-dir", files)
}

// seed stores what is read later: one image with a layer of each size, a repository with many tags, and
// many repositories.
func (f *field) seed(ctx context.Context) error {
	client := f.client(1)
	defer client.CloseIdleConnections()
	f.image = newManifest(newContent(kib, 1), newContent(mib, 2), newContent(100*mib, 3))
	for _, c := range f.contenders {
		if c.storage == "" {
			continue
		}
		if err := pushImage(ctx, client, c, pullRepository, "latest", f.image); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	for _, layer := range f.image.layers {
		if err := layer.writeFile(filepath.Join(f.dir, "files", layer.digest.Encoded())); err != nil {
			return err
		}
	}
	for _, c := range f.contenders {
		if c.storage == "" {
			continue
		}
		if err := f.keepBlobs(c); err != nil {
			return err
		}
		if err := f.seedNames(ctx, client, c); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return nil
}

// seedNames makes tags and repositories. Those of this registry are objects of the image API, those of
// distribution directories.
func (f *field) seedNames(ctx context.Context, client *http.Client, c *contender) error {
	if c.api != nil {
		query := url.Values{"tags": {fmt.Sprint(tagCount)}, "repositories": {fmt.Sprint(repositoryCount)}, "digest": {f.image.digest.String()}, "server": {registryAddress}}
		_, err := do(ctx, client, call{method: http.MethodPost, url: c.api.url + "/seed?" + query.Encode(), status: http.StatusOK})
		return err
	}
	root := filepath.Join(c.storage, repositoriesPart)
	for i := range repositoryCount {
		if err := os.MkdirAll(filepath.Join(root, benchNamespace, seedRepository(i), "_layers"), 0o750); err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Join(root, benchNamespace, seedRepository(i), "_manifests"), 0o750); err != nil {
			return err
		}
	}
	for i := range tagCount {
		dir := filepath.Join(root, tagsRepository, "_manifests/tags", seedTag(i), "current")
		if err := os.MkdirAll(dir, 0o750); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, "link"), []byte(f.image.digest), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (f *field) keepBlobs(c *contender) error {
	blobs, err := filepath.Glob(filepath.Join(c.storage, blobsBelow, "*", "*"))
	for _, blob := range blobs {
		f.kept[filepath.Base(blob)] = true
	}
	return err
}

// clean removes what pushes have left, so that a long run does not fill the disk.
func (f *field) clean(c *contender) error {
	if c.storage == "" {
		return nil
	}
	blobs, err := filepath.Glob(filepath.Join(c.storage, blobsBelow, "*", "*"))
	if err != nil {
		return err
	}
	pushed, err := filepath.Glob(filepath.Join(c.storage, repositoriesPart, benchNamespace, "push-*"))
	if err != nil {
		return err
	}
	for _, blob := range blobs {
		if !f.kept[filepath.Base(blob)] {
			pushed = append(pushed, blob)
		}
	}
	for _, path := range pushed {
		err = errors.Join(err, removeAll(path))
	}
	return err
}

// removeAll tries again while a server is still ending what clients gave up.
func removeAll(path string) (err error) {
	for range 100 {
		if err = os.RemoveAll(path); err == nil {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return err
}

// call is one request that must be answered with a status.
type call struct {
	method, url, token string
	header             http.Header
	body               io.Reader
	size               int64
	status             int
}

// answer is what the caller needs of a response whose body was read.
type answer struct {
	header http.Header
	bytes  int64
}

func do(ctx context.Context, client *http.Client, c call) (answer, error) {
	r, err := http.NewRequestWithContext(ctx, c.method, c.url, c.body)
	if err != nil {
		return answer{}, err
	}
	if c.header != nil {
		r.Header = c.header.Clone()
	}
	if c.body != nil {
		r.ContentLength = c.size
	}
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	response, err := client.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close() //nolint:errcheck // everything was read
	if response.StatusCode != c.status {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 500))
		return answer{}, fmt.Errorf("%s %s: status %d, want %d: %s", c.method, c.url, response.StatusCode, c.status, bytes.TrimSpace(text))
	}
	buffer := readBuffers.Get().(*[]byte)
	defer readBuffers.Put(buffer)
	n, err := io.CopyBuffer(discard{}, struct{ io.Reader }{response.Body}, *buffer)
	return answer{header: response.Header, bytes: n}, err
}

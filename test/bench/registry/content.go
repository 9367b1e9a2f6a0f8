package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"sync"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	kib = 1 << 10
	mib = 1 << 20
)

var readBuffers = sync.Pool{New: func() any {
	buffer := make([]byte, 64*kib)
	return &buffer
}}

// discard has no ReadFrom, so that the buffer is used.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// content is a blob of bytes that do not compress: a shared beginning and eight bytes of its own, so that
// its digest costs the load generator next to nothing.
type content struct {
	digest digest.Digest
	size   int64
	start  []byte
	end    [8]byte
}

// beginnings are the shared beginnings by size, with the state of their hash.
var beginnings sync.Map

type beginning struct {
	once  sync.Once
	bytes []byte
	state []byte
}

func newContent(size int64, number uint64) content {
	entry, _ := beginnings.LoadOrStore(size, &beginning{})
	shared := entry.(*beginning)
	shared.once.Do(func() {
		shared.bytes = make([]byte, size-8)
		source := rand.NewChaCha8([32]byte{1})
		_, _ = source.Read(shared.bytes) // never fails
		sum := sha256.New()
		sum.Write(shared.bytes)
		shared.state, _ = sum.(encoding.BinaryMarshaler).MarshalBinary() // never fails
	})
	c := content{size: size, start: shared.bytes}
	binary.BigEndian.PutUint64(c.end[:], number)
	sum := sha256.New()
	_ = sum.(encoding.BinaryUnmarshaler).UnmarshalBinary(shared.state) // own state
	sum.Write(c.end[:])
	c.digest = digest.NewDigest(digest.SHA256, hash.Hash(sum))
	return c
}

func (c content) reader() io.Reader {
	return io.MultiReader(bytes.NewReader(c.start), bytes.NewReader(c.end[:]))
}

func (c content) writeFile(path string) error {
	raw, err := io.ReadAll(c.reader())
	if err != nil {
		return err
	}
	return os.WriteFile(path, raw, 0o600)
}

func (c content) descriptor(mediaType string) v1.Descriptor {
	return v1.Descriptor{MediaType: mediaType, Digest: c.digest, Size: c.size}
}

// manifestContent is an image.
type manifestContent struct {
	raw    []byte
	digest digest.Digest
	config []byte
	layers []content
}

func newManifest(layers ...content) manifestContent {
	var config v1.Image
	config.OS, config.Architecture = "linux", "amd64"
	config.RootFS.Type = "layers"
	manifest := v1.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest}
	for _, layer := range layers {
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, layer.digest)
		manifest.Layers = append(manifest.Layers, layer.descriptor(v1.MediaTypeImageLayer))
	}
	m := manifestContent{layers: layers}
	m.config, _ = json.Marshal(config) // plain data
	manifest.Config = v1.Descriptor{MediaType: v1.MediaTypeImageConfig, Digest: digest.FromBytes(m.config), Size: int64(len(m.config))}
	m.raw, _ = json.Marshal(manifest) // plain data
	m.digest = digest.FromBytes(m.raw)
	return m
}

// pushBlob uploads as most clients do: a session, then everything in one request.
func pushBlob(ctx context.Context, client *http.Client, c *contender, repository string, d digest.Digest, size int64, body io.Reader) error {
	started, err := do(ctx, client, call{method: http.MethodPost, url: c.url + "/v2/" + repository + "/blobs/uploads/", token: c.token, status: http.StatusAccepted})
	if err != nil {
		return err
	}
	target, err := location(c, started.header, d)
	if err != nil {
		return err
	}
	_, err = do(ctx, client, call{
		method: http.MethodPut, url: target, token: c.token, body: body, size: size,
		header: http.Header{"Content-Type": {"application/octet-stream"}}, status: http.StatusCreated,
	})
	return err
}

// location is where an upload goes on, with the digest that ends it.
func location(c *contender, header http.Header, d digest.Digest) (string, error) {
	base, err := url.Parse(c.url)
	if err != nil {
		return "", err
	}
	target, err := base.Parse(header.Get("Location"))
	if err != nil {
		return "", fmt.Errorf("location of an upload: %w", err)
	}
	if d != "" {
		query := target.Query()
		query.Set("digest", d.String())
		target.RawQuery = query.Encode()
	}
	return target.String(), nil
}

// pushImage asks for each blob, uploads it, and puts the manifest under a tag.
func pushImage(ctx context.Context, client *http.Client, c *contender, repository, tag string, image manifestContent) error {
	for _, layer := range image.layers {
		if err := pushMissing(ctx, client, c, repository, layer.digest, layer.size, layer.reader()); err != nil {
			return err
		}
	}
	if err := pushMissing(ctx, client, c, repository, digest.FromBytes(image.config), int64(len(image.config)), bytes.NewReader(image.config)); err != nil {
		return err
	}
	_, err := do(ctx, client, call{
		method: http.MethodPut, url: c.url + "/v2/" + repository + "/manifests/" + tag, token: c.token,
		header: http.Header{"Content-Type": {v1.MediaTypeImageManifest}},
		body:   bytes.NewReader(image.raw), size: int64(len(image.raw)), status: http.StatusCreated,
	})
	return err
}

func pushMissing(ctx context.Context, client *http.Client, c *contender, repository string, d digest.Digest, size int64, body io.Reader) error {
	_, err := do(ctx, client, call{method: http.MethodHead, url: c.url + "/v2/" + repository + "/blobs/" + d.String(), token: c.token, status: http.StatusNotFound})
	if err != nil {
		return err
	}
	return pushBlob(ctx, client, c, repository, d, size, body)
}

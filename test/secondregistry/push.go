package secondregistry

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Image describes an image to push.
type Image struct {
	// Platform defaults to linux/amd64.
	Platform v1.Platform
	// Layers are the contents of the layers; empty means one layer that follows from platform and Seed.
	Layers [][]byte
	// Seed makes images of one platform different.
	Seed string
	// Docker uses the media types of Docker schema 2 instead of those of OCI.
	Docker bool
	// Annotations of the manifest; only OCI has them.
	Annotations map[string]string
}

const (
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	dockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	dockerConfig   = "application/vnd.docker.container.image.v1+json"
	dockerLayer    = "application/vnd.docker.image.rootfs.diff.tar.gzip"
)

// PushImage stores an image. The result has the platform set, so that it can become a child of an index.
// A tag of "" pushes by digest.
func (r *Registry) PushImage(t testing.TB, repository, tag string, image Image) v1.Descriptor {
	t.Helper()
	platform := image.Platform
	if platform.OS == "" {
		platform.OS = "linux"
	}
	if platform.Architecture == "" {
		platform.Architecture = "amd64"
	}
	layers := image.Layers
	if len(layers) == 0 {
		layers = [][]byte{fmt.Appendf(nil, "layer of %s/%s %s", platform.OS, platform.Architecture, image.Seed)}
	}
	manifestType, configType, layerType := v1.MediaTypeImageManifest, v1.MediaTypeImageConfig, v1.MediaTypeImageLayerGzip
	if image.Docker {
		manifestType, configType, layerType = dockerManifest, dockerConfig, dockerLayer
	}
	manifest := v1.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: manifestType, Annotations: image.Annotations}
	config := v1.Image{Platform: platform, Author: image.Seed, RootFS: v1.RootFS{Type: "layers"}}
	for _, layer := range layers {
		manifest.Layers = append(manifest.Layers, r.PushBlob(t, repository, layerType, layer))
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, digest.FromBytes(layer))
	}
	manifest.Config = r.PushBlob(t, repository, configType, encode(t, config))
	pushed := r.PushManifest(t, repository, tag, manifestType, encode(t, manifest))
	pushed.Platform = &platform
	return pushed
}

// PushIndex stores an index. Children may themselves be indexes, and need not exist.
func (r *Registry) PushIndex(t testing.TB, repository, tag string, children ...v1.Descriptor) v1.Descriptor {
	t.Helper()
	return r.pushIndex(t, repository, tag, v1.MediaTypeImageIndex, children)
}

// PushManifestList is PushIndex with Docker's media type.
func (r *Registry) PushManifestList(t testing.TB, repository, tag string, children ...v1.Descriptor) v1.Descriptor {
	t.Helper()
	return r.pushIndex(t, repository, tag, dockerList, children)
}

func (r *Registry) pushIndex(t testing.TB, repository, tag, mediaType string, children []v1.Descriptor) v1.Descriptor {
	t.Helper()
	if children == nil {
		children = []v1.Descriptor{}
	}
	index := v1.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: mediaType, Manifests: children}
	return r.PushManifest(t, repository, tag, mediaType, encode(t, index))
}

// PushArtifact stores an OCI manifest that is no image, such as a Helm chart; subject may be nil.
func (r *Registry) PushArtifact(t testing.TB, repository, tag, artifactType string, content []byte, subject *v1.Descriptor) v1.Descriptor {
	t.Helper()
	manifest := v1.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest, ArtifactType: artifactType,
		Config:  r.PushBlob(t, repository, v1.MediaTypeEmptyJSON, []byte("{}")),
		Layers:  []v1.Descriptor{r.PushBlob(t, repository, artifactType, content)},
		Subject: subject,
	}
	pushed := r.PushManifest(t, repository, tag, v1.MediaTypeImageManifest, encode(t, manifest))
	pushed.ArtifactType = artifactType
	return pushed
}

// PushAttestation stores a manifest of the kind that builders put into an index beside an image. The
// result carries annotations and platform as there.
func (r *Registry) PushAttestation(t testing.TB, repository string, image v1.Descriptor) v1.Descriptor {
	t.Helper()
	platform := v1.Platform{OS: "unknown", Architecture: "unknown"}
	manifest := v1.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest,
		Config: r.PushBlob(t, repository, v1.MediaTypeImageConfig, encode(t, v1.Image{Platform: platform})),
		Layers: []v1.Descriptor{r.PushBlob(t, repository, "application/vnd.in-toto+json",
			fmt.Appendf(nil, `{"subject":%q}`, image.Digest))},
	}
	pushed := r.PushManifest(t, repository, "", v1.MediaTypeImageManifest, encode(t, manifest))
	pushed.Platform = &platform
	pushed.Annotations = map[string]string{
		"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": image.Digest.String(),
	}
	return pushed
}

// PushManifest stores a manifest as it is, under a tag, or under its digest when the tag is empty.
func (r *Registry) PushManifest(t testing.TB, repository, tag, mediaType string, raw []byte) v1.Descriptor {
	t.Helper()
	pushed := v1.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	reference := tag
	if reference == "" {
		reference = pushed.Digest.String()
	}
	request := httptest.NewRequest(http.MethodPut, r.URL+"/v2/"+repository+"/manifests/"+reference, bytes.NewReader(raw))
	request.Header.Set("Content-Type", mediaType)
	r.push(t, request)
	return pushed
}

// PushBlob stores a blob.
func (r *Registry) PushBlob(t testing.TB, repository, mediaType string, content []byte) v1.Descriptor {
	t.Helper()
	pushed := v1.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(content), Size: int64(len(content))}
	answer := r.push(t, httptest.NewRequest(http.MethodPost, r.URL+"/v2/"+repository+"/blobs/uploads/", nil))
	location, err := url.Parse(answer.Header().Get("Location"))
	if err != nil {
		t.Fatalf("second registry: location of an upload: %v", err)
	}
	query := location.Query()
	query.Set("digest", pushed.Digest.String())
	location.RawQuery = query.Encode()
	request := httptest.NewRequest(http.MethodPut, location.String(), bytes.NewReader(content))
	request.Header.Set("Content-Type", "application/octet-stream")
	r.push(t, request)
	return pushed
}

// Delete removes a manifest by its digest, so that an index that names it becomes sparse.
func (r *Registry) Delete(t testing.TB, repository string, manifest digest.Digest) {
	t.Helper()
	r.push(t, httptest.NewRequest(http.MethodDelete, r.URL+"/v2/"+repository+"/manifests/"+manifest.String(), nil))
}

// push hands a request to the stock server without the layer in front of it.
func (r *Registry) push(t testing.TB, request *http.Request) *httptest.ResponseRecorder {
	t.Helper()
	answer := httptest.NewRecorder()
	r.stock.ServeHTTP(answer, request)
	if answer.Code/100 != 2 {
		t.Fatalf("second registry: %s %s: status %d: %s", request.Method, request.URL.Path, answer.Code, answer.Body)
	}
	return answer
}

func encode(t testing.TB, value any) []byte {
	t.Helper()
	raw, err := json.Marshal(value)
	if err != nil {
		t.Fatalf("second registry: %v", err)
	}
	return raw
}

// Manifest returns a manifest that was pushed.
func (r *Registry) Manifest(t testing.TB, repository string, d digest.Digest) []byte {
	t.Helper()
	request := httptest.NewRequest(http.MethodGet, r.URL+"/v2/"+repository+"/manifests/"+d.String(), nil)
	request.Header.Set("Accept", "*/*")
	for _, mediaType := range []string{v1.MediaTypeImageManifest, v1.MediaTypeImageIndex, dockerManifest, dockerList} {
		request.Header.Add("Accept", mediaType)
	}
	return r.push(t, request).Body.Bytes()
}

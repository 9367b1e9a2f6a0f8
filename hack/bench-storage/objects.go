package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"image.alauda.io/api/image/docker10"
	imagev1 "image.alauda.io/api/image/v1"
)

const (
	layersPerImage  = 12
	labelsPerImage  = 12
	envPerImage     = 18
	tagsPerStream   = 3
	streamNamespace = "bench"
)

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256:" + hex.EncodeToString(sum[:])
}

func identity(name string) types.UID {
	text := digest("uid " + name)[len("sha256:"):]
	return types.UID(fmt.Sprintf("%s-%s-%s-%s-%s", text[:8], text[8:12], text[12:16], text[16:20], text[20:32]))
}

var created = metav1.NewTime(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))

// image is what the registry stores for the image of a number. Half of the layers are its own.
func image(number int) *imagev1.Image {
	name := digest(fmt.Sprint("image ", number))
	config := &docker10.DockerConfig{
		Labels: map[string]string{}, Cmd: []string{"/bin/sh", "-c", "exec /usr/local/bin/server"},
		User: "1001", WorkingDir: "/workspace", ExposedPorts: map[string]struct{}{"8080/tcp": {}},
	}
	for i := range labelsPerImage {
		config.Labels[fmt.Sprintf("org.example.label-%d", i)] = fmt.Sprintf("value %d of image %d", i, number)
	}
	for i := range envPerImage {
		config.Env = append(config.Env, fmt.Sprintf("VARIABLE_%d=/some/path/of/a/program/%d", i, number%50))
	}
	metadata, _ := json.Marshal(map[string]any{
		"kind": "DockerImage", "apiVersion": "image.alauda.io/1.0", "Id": digest(fmt.Sprint("config ", number)), "Created": created,
		"Architecture": "amd64", "Os": "linux", "Size": 123456789, "Config": config, "ContainerConfig": map[string]any{},
	}) // plain values always have a JSON form
	obj := &imagev1.Image{
		TypeMeta: metav1.TypeMeta{APIVersion: "image.alauda.io/v1", Kind: "Image"},
		ObjectMeta: metav1.ObjectMeta{
			Name: name, UID: identity(name), Generation: 1, CreationTimestamp: created,
			Annotations: map[string]string{
				imagev1.ManagedByAlaudaAnnotation: "true", imagev1.ImageManifestBlobStoredAnnotation: "true",
			},
		},
		DockerImageReference:         reference(number) + "@" + name,
		DockerImageMetadata:          runtime.RawExtension{Raw: metadata},
		DockerImageMetadataVersion:   "1.0",
		DockerImageManifestMediaType: "application/vnd.oci.image.manifest.v1+json",
	}
	for i := range layersPerImage {
		layer := fmt.Sprint("layer ", i, " of ", number)
		if i < layersPerImage/2 {
			layer = fmt.Sprint("base ", i, " of ", number%100)
		}
		obj.DockerImageLayers = append(obj.DockerImageLayers, imagev1.ImageLayer{
			Name: digest(layer), LayerSize: int64(1000000 + i), MediaType: "application/vnd.oci.image.layer.v1.tar+gzip",
		})
	}
	return obj
}

func streamName(number int) string { return fmt.Sprintf("app-%06d", number) }

func reference(number int) string {
	return "image-registry.image-registry-system.svc:5000/" + streamNamespace + "/" + streamName(number/tagsPerStream)
}

// stream has one image at each of its tags.
func stream(number int) *imagev1.ImageStream {
	name := streamName(number)
	obj := &imagev1.ImageStream{
		TypeMeta: metav1.TypeMeta{APIVersion: "image.alauda.io/v1", Kind: "ImageStream"},
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: streamNamespace, UID: identity(name), Generation: 1, CreationTimestamp: created,
			Labels: map[string]string{"app": name},
		},
	}
	for i := range tagsPerStream {
		n := number*tagsPerStream + i
		img := digest(fmt.Sprint("image ", n))
		obj.Status.Tags = append(obj.Status.Tags, imagev1.NamedTagEventList{Tag: fmt.Sprintf("v%d", i), Items: []imagev1.TagEvent{{
			Created: created, DockerImageReference: reference(n) + "@" + img, Image: img, Generation: 1,
		}}})
	}
	return obj
}

// writeObjects writes images and their streams in the form of an export.
func writeObjects(out io.Writer, images int) error {
	encoder := json.NewEncoder(out)
	for i := range images {
		if err := encoder.Encode(image(i)); err != nil {
			return err
		}
	}
	for i := range images / tagsPerStream {
		if err := encoder.Encode(stream(i)); err != nil {
			return err
		}
	}
	return nil
}

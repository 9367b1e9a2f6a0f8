package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// bundleImage is the repository of the bundle's own image.
const bundleImage = packageName + "-bundle"

// nameImages gives the Deployment the names of the release's images, and the catalog that of the bundle.
func (in *input) nameImages(o options) error {
	rename := func(reference string) (string, error) { return reference, nil }
	if o.Registry != "" {
		rename = func(reference string) (string, error) { return o.released(imageName(reference)) }
	}
	container, err := operatorContainer(in.deployment)
	if err != nil {
		return err
	}
	renamed, err := rename(text(container, "image"))
	if err != nil {
		return err
	}
	container["image"] = renamed
	for _, variable := range imageVariables(container) {
		if variable["value"], err = rename(text(variable, "value")); err != nil {
			return err
		}
	}
	in.bundleImage = o.BundleImage
	if in.bundleImage == "" {
		in.bundleImage = strings.TrimSuffix(first(o.Registry, "localhost"), "/") + "/" + bundleImage + ":" + o.Tag
	}
	return in.checkImages(container)
}

// checkImages makes sure that the bundle says all that is pulled: the lifecycle manager and mirrors read its list.
func (in *input) checkImages(container object) error {
	if extra := dig(in.deployment, "spec", "template", "spec", "initContainers"); extra != nil {
		return errors.New("the operator's Deployment has init containers, whose images the bundle does not list")
	}
	own := false
	for _, variable := range imageVariables(container) {
		if err := checkImage(text(variable, "value")); err != nil {
			return fmt.Errorf("variable %s: %w", text(variable, "name"), err)
		}
		own = own || text(variable, "value") == text(container, "image")
	}
	if !own {
		return fmt.Errorf("the operator's image %s is that of no variable", text(container, "image"))
	}
	return checkImage(in.bundleImage)
}

// released names one image of the release, by digest if the built images are at hand.
func (o options) released(image string) (string, error) {
	repository := strings.TrimSuffix(o.Registry, "/") + "/" + image
	if o.Digests == "" {
		return repository + ":" + o.Tag, nil
	}
	digest, err := layoutDigest(filepath.Join(o.Digests, image))
	if err != nil {
		return "", err
	}
	return repository + "@" + digest, nil
}

// layoutDigest reads the digest of the one image, or index, of an OCI layout.
func layoutDigest(dir string) (string, error) {
	data, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if err != nil {
		return "", fmt.Errorf("built image: %w", err)
	}
	var index struct {
		Manifests []struct {
			Digest string `json:"digest"`
		} `json:"manifests"`
	}
	if err := json.Unmarshal(data, &index); err != nil {
		return "", fmt.Errorf("%s: %w", dir, err)
	}
	if len(index.Manifests) != 1 {
		return "", fmt.Errorf("%s: holds %d images, want one", dir, len(index.Manifests))
	}
	return index.Manifests[0].Digest, checkBlob(dir, index.Manifests[0].Digest)
}

// imageName is the last segment of a reference without tag and digest.
func imageName(reference string) string {
	name, _, _ := strings.Cut(path.Base(reference), "@")
	name, _, _ = strings.Cut(name, ":")
	return name
}

// operatorContainer is the only container of the Deployment.
func operatorContainer(deployment object) (object, error) {
	containers, _ := dig(deployment, "spec", "template", "spec", "containers").([]any)
	if len(containers) != 1 {
		return nil, fmt.Errorf("the operator's Deployment %s has %d containers, want one", text(deployment, "metadata", "name"), len(containers))
	}
	container, _ := containers[0].(object)
	return container, nil
}

// imageVariables are the variables of the container that name images.
func imageVariables(container object) []object {
	var variables []object
	list, _ := container["env"].([]any)
	for _, entry := range list {
		variable, _ := entry.(object)
		if name := text(variable, "name"); name == "OPERATOR_IMAGE" || strings.HasPrefix(name, "RELATED_IMAGE_") {
			variables = append(variables, variable)
		}
	}
	return variables
}

// relatedImages lists the images that the variables name, under the names of their variables.
func relatedImages(container object) []any {
	var images []any
	for _, variable := range imageVariables(container) {
		name := strings.TrimPrefix(text(variable, "name"), "RELATED_IMAGE_")
		name = strings.ReplaceAll(strings.ToLower(strings.TrimSuffix(name, "_IMAGE")), "_", "-")
		images = append(images, object{"name": name, "image": text(variable, "value")})
	}
	return images
}

func dig(value any, keys ...string) any {
	for _, key := range keys {
		mapping, _ := value.(object)
		value = mapping[key]
	}
	return value
}

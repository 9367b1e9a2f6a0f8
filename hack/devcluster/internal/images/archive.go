package images

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sort"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// maxIndex bounds what is read of an archive's table of contents, in bytes.
const maxIndex = 4 << 20

// Annotations under which archives in OCI format carry names of images.
const (
	containerdName = "io.containerd.image.name"
	ociRefName     = "org.opencontainers.image.ref.name"
)

// Names lists the full names of the images in a tar file, sorted.
func Names(path string) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := readNames(f)
	if err != nil {
		return nil, fmt.Errorf("image file %s: %w", path, err)
	}
	return names, nil
}

func readNames(r io.Reader) ([]string, error) {
	found := map[string]bool{}
	known := false
	for t := tar.NewReader(r); ; {
		header, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		var parse func([]byte) ([]string, error)
		switch strings.TrimPrefix(header.Name, "./") {
		case "manifest.json":
			parse = dockerNames
		case "index.json":
			parse = ociNames
		default:
			continue
		}
		content, err := io.ReadAll(io.LimitReader(t, maxIndex))
		if err != nil {
			return nil, err
		}
		names, err := parse(content)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", header.Name, err)
		}
		known = true
		for _, n := range names {
			found[n] = true
		}
	}
	if !known {
		return nil, errors.New("is no image: it holds neither manifest.json nor index.json")
	}
	if len(found) == 0 {
		return nil, errors.New("names no image: give the image a full name like localhost/app:dev")
	}
	names := make([]string, 0, len(found))
	for n := range found {
		names = append(names, n)
	}
	sort.Strings(names)
	return names, nil
}

func dockerNames(content []byte) ([]string, error) {
	var entries []struct{ RepoTags []string }
	if err := json.Unmarshal(content, &entries); err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		for _, tag := range e.RepoTags {
			ref, err := name.NewTag(tag)
			if err != nil {
				return nil, err
			}
			names = append(names, canonical(ref))
		}
	}
	return names, nil
}

func ociNames(content []byte) ([]string, error) {
	var index struct {
		Manifests []struct {
			Annotations map[string]string `json:"annotations"`
		} `json:"manifests"`
	}
	if err := json.Unmarshal(content, &index); err != nil {
		return nil, err
	}
	var names []string
	for _, m := range index.Manifests {
		full := m.Annotations[containerdName]
		if full == "" {
			full = m.Annotations[ociRefName]
		}
		// A bare tag is no name of an image.
		if !strings.ContainsAny(full, "/:") {
			continue
		}
		ref, err := name.ParseReference(full)
		if err != nil {
			return nil, err
		}
		names = append(names, canonical(ref))
	}
	return names, nil
}

// canonical is the name as containerd stores it, by tag or by digest.
func canonical(ref name.Reference) string {
	repository := ref.Context()
	registry, separator := repository.RegistryStr(), ":"
	if registry == name.DefaultRegistry {
		registry = "docker.io"
	}
	if _, pinned := ref.(name.Digest); pinned {
		separator = "@"
	}
	return registry + "/" + repository.RepositoryStr() + separator + ref.Identifier()
}

package main

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// settingsFile lists the images, relative to the root of the repository.
const settingsFile = "images/images.yaml"

// imageSettings describes one image; images/images.yaml explains the fields.
type imageSettings struct {
	Name        string      `json:"name"`
	Binary      string      `json:"binary,omitempty"`
	Package     string      `json:"package"`
	Description string      `json:"description"`
	User        string      `json:"user"`
	CABundle    bool        `json:"caBundle,omitempty"`
	Files       []fileEntry `json:"files,omitempty"`
	Sample      bool        `json:"sample,omitempty"`
	// Content are folders of the repository; an image that has them holds nothing else.
	Content []fileEntry       `json:"content,omitempty"`
	Labels  map[string]string `json:"labels,omitempty"`
}

// fileEntry is a file of the repository that an image ships.
type fileEntry struct {
	Path   string `json:"path"`
	Source string `json:"source"`
}

func (s imageSettings) entrypoint() string { return "/usr/bin/" + s.Binary }

// contentOnly says whether the image carries files for others to read and no program.
func (s imageSettings) contentOnly() bool { return len(s.Content) > 0 }

// loadSettings reads and checks the table of images.
func loadSettings(root string) ([]imageSettings, error) {
	data, err := os.ReadFile(filepath.Join(root, settingsFile))
	if err != nil {
		return nil, err
	}
	return parseSettings(data)
}

func parseSettings(data []byte) ([]imageSettings, error) {
	var table struct {
		Images []imageSettings `json:"images"`
	}
	if err := yaml.UnmarshalStrict(data, &table); err != nil {
		return nil, fmt.Errorf("%s: %w", settingsFile, err)
	}
	seen := map[string]bool{}
	for i := range table.Images {
		image := &table.Images[i]
		if image.Binary == "" && !image.contentOnly() {
			image.Binary = image.Name
		}
		if err := image.validate(); err != nil {
			return nil, fmt.Errorf("%s: image %q: %w", settingsFile, image.Name, err)
		}
		if seen[image.Name] {
			return nil, fmt.Errorf("%s: image %q is listed twice", settingsFile, image.Name)
		}
		seen[image.Name] = true
	}
	return table.Images, nil
}

var (
	namePattern = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	userPattern = regexp.MustCompile(`^[0-9]+:[0-9]+$`)
)

func (s imageSettings) validate() error {
	if !namePattern.MatchString(s.Name) {
		return fmt.Errorf("the name is not a repository name")
	}
	if s.contentOnly() {
		return s.validateContent()
	}
	switch {
	case !namePattern.MatchString(s.Binary):
		return fmt.Errorf("the binary %q is not a file name", s.Binary)
	case !strings.HasPrefix(s.Package, "./") || path.Base(s.Package) != s.Binary:
		return fmt.Errorf("the package %q is not a path below the repository that ends in %q", s.Package, s.Binary)
	case !userPattern.MatchString(s.User):
		return fmt.Errorf("the user %q is not uid:gid in numbers", s.User)
	case s.Description == "":
		return fmt.Errorf("the description is missing")
	}
	for _, file := range s.Files {
		if err := file.validate(); err != nil {
			return err
		}
	}
	return nil
}

func (s imageSettings) validateContent() error {
	if s.Binary != "" || s.Package != "" || s.User != "" || s.CABundle || len(s.Files) > 0 {
		return fmt.Errorf("an image with content has no program, user, files or certificates")
	}
	if s.Description == "" {
		return fmt.Errorf("the description is missing")
	}
	for _, folder := range s.Content {
		if err := folder.validate(); err != nil {
			return err
		}
	}
	return nil
}

func (f fileEntry) validate() error {
	if !path.IsAbs(f.Path) || path.Clean(f.Path) != f.Path || !filepath.IsLocal(f.Source) {
		return fmt.Errorf("the file %q from %q is not an absolute path from a path inside the repository", f.Path, f.Source)
	}
	return nil
}

// selectImages returns the named images in the order of the table; no names means all.
func selectImages(all []imageSettings, names []string) ([]imageSettings, error) {
	if len(names) == 0 {
		return all, nil
	}
	var selected []imageSettings
	for _, image := range all {
		if slices.Contains(names, image.Name) {
			selected = append(selected, image)
		}
	}
	for _, name := range names {
		if !slices.ContainsFunc(all, func(image imageSettings) bool { return image.Name == name }) {
			return nil, fmt.Errorf("there is no image %q in %s", name, settingsFile)
		}
	}
	return selected, nil
}

// platform is an operating system and an architecture as Go and OCI name them.
type platform struct{ OS, Arch string }

func (p platform) String() string { return p.OS + "/" + p.Arch }

// dir is the form used in file names.
func (p platform) dir() string { return p.OS + "_" + p.Arch }

func parsePlatforms(values []string) ([]platform, error) {
	var platforms []platform
	for _, value := range values {
		system, arch, ok := strings.Cut(value, "/")
		if !ok || system != "linux" || (arch != "amd64" && arch != "arm64") {
			return nil, fmt.Errorf("platform %q is not supported, only linux/amd64 and linux/arm64 are", value)
		}
		p := platform{system, arch}
		if !slices.Contains(platforms, p) {
			platforms = append(platforms, p)
		}
	}
	if len(platforms) == 0 {
		return nil, fmt.Errorf("no platform given")
	}
	slices.SortFunc(platforms, func(a, b platform) int { return strings.Compare(a.String(), b.String()) })
	return platforms, nil
}

package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/distribution/reference"
	sigsyaml "sigs.k8s.io/yaml"

	"k8s.io/apimachinery/pkg/util/version"
)

// maxCSVName is the length of a label's value: the lifecycle manager marks what it makes with the name.
const maxCSVName = 63

var (
	// versionPattern has no upper case and no build: the version is part of the name of an object.
	versionPattern = regexp.MustCompile(`^[0-9]+\.[0-9]+\.[0-9]+(-[0-9a-z-]+(\.[0-9a-z-]+)*)?$`)
	digestPattern  = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
)

// checkVersion says what is wrong with a version that is to be the name of a release.
func checkVersion(text string) error {
	if !versionPattern.MatchString(text) {
		return fmt.Errorf("%q is not a semantic version in lower case without leading v and build", text)
	}
	if _, err := version.ParseSemantic(text); err != nil {
		return fmt.Errorf("%q is not a semantic version: %w", text, err)
	}
	if length := len(csvName(text)); length > maxCSVName {
		return fmt.Errorf("the name %s has %d characters, the value of a label takes %d", csvName(text), length, maxCSVName)
	}
	return nil
}

// earlier returns the releases before the one that is made: those of the history up to the one that is
// replaced. What came after that was withdrawn. The result ascends, and ends before the release.
func earlier(history []string, replaces, release string) ([]string, error) {
	if replaces != "" {
		if at := slices.Index(history, replaces); at >= 0 {
			history = history[:at]
		}
		history = append(slices.Clone(history), replaces)
	}
	before := ""
	for _, next := range append(slices.Clone(history), release) {
		if err := checkVersion(next); err != nil {
			return nil, err
		}
		if before != "" && !version.MustParseSemantic(before).LessThan(version.MustParseSemantic(next)) {
			return nil, fmt.Errorf("version %s does not come after %s, which it is to replace", next, before)
		}
		before = next
	}
	return history, nil
}

// checkEntry makes sure that a file holds the catalog entry of the release that it is named after, and nothing
// else: what it says would otherwise become the way to another version.
func checkEntry(data []byte, release string) error {
	var entry struct {
		Schema, Package, Name, Image string
		Properties                   []struct {
			Type  string
			Value any
		}
	}
	if documents := bytes.Count(data, []byte("\n---")); documents > 0 {
		return errors.New("it holds more than one document")
	}
	if err := sigsyaml.Unmarshal(data, &entry); err != nil {
		return err
	}
	if entry.Schema != "olm.bundle" || entry.Package != packageName || entry.Name != csvName(release) {
		return fmt.Errorf("it is %q %q of package %q, want olm.bundle %s of %s", entry.Schema, entry.Name, entry.Package, csvName(release), packageName)
	}
	for _, property := range entry.Properties {
		if property.Type == "olm.package" && text(property.Value, "version") != release {
			return fmt.Errorf("its package has version %q, want %s", text(property.Value, "version"), release)
		}
	}
	return checkImage(entry.Image)
}

// checkImage says whether a reference names an image with a tag or a digest.
func checkImage(name string) error {
	parsed, err := reference.Parse(name)
	if err != nil {
		return fmt.Errorf("image %q: %w", name, err)
	}
	switch parsed.(type) {
	case reference.NamedTagged, reference.Canonical:
		return nil
	}
	return fmt.Errorf("image %q: it has neither a name with a tag nor a digest", name)
}

// checkBlob makes sure that a layout has what its index names.
func checkBlob(dir, digest string) error {
	if !digestPattern.MatchString(digest) {
		return fmt.Errorf("%s: %q is not a sha256 digest", dir, digest)
	}
	hexadecimal := digest[len("sha256:"):]
	data, err := os.ReadFile(filepath.Join(dir, "blobs", "sha256", hexadecimal))
	if err != nil {
		return fmt.Errorf("built image: %w", err)
	}
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != hexadecimal {
		return errors.New(dir + ": the content does not have its digest, build the image again")
	}
	return nil
}

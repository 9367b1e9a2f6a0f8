package app

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"image.alauda.io/registry/pkg/registry/config"
	"image.alauda.io/registry/pkg/registry/imageapi/imageapitest"
	"image.alauda.io/registry/pkg/registry/recovery"
	"image.alauda.io/registry/pkg/registry/store"
	"image.alauda.io/registry/test/secondregistry"
)

// storageOfOthers is written by a stock server, with names that this registry does not
// serve, and by somebody who left files around.
func storageOfOthers(t *testing.T) (directory, configFile string) {
	t.Helper()
	directory = t.TempDir()
	stock := secondregistry.Start(t, secondregistry.Options{Directory: directory})
	for _, repository := range []string{"team/app", "single", "a/b/c"} {
		stock.PushImage(t, repository, "v1", secondregistry.Image{Seed: repository})
	}
	configFile = filepath.Join(t.TempDir(), "config.yml")
	text := fmt.Sprintf("version: 0.1\nstorage: {filesystem: {rootdirectory: %q}}\nhttp: {secret: x}\nalauda: {server: {addr: 'registry.test:5000'}}\n", directory)
	if err := os.WriteFile(configFile, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return directory, configFile
}

// Behaviour 87.
func TestListsOfTheStorage(t *testing.T) {
	directory, file := storageOfOthers(t)
	list := func(flag string, want int) []string {
		t.Helper()
		code, out, problems := run(t, "-experimental", flag, file)
		if code != want {
			t.Errorf("%s ended with code %d, want %d: %s", flag, code, want, problems)
		}
		return strings.Split(strings.TrimSpace(out), "\n")
	}
	if got := strings.Join(list("-list-repositories", exitOK), ","); got != "repository\ta/b/c,repository\tsingle,repository\tteam/app" {
		t.Errorf("repositories are %q", got)
	}
	if got := list("-list-blobs", exitOK); len(got) != 9 || !strings.HasPrefix(got[0], "blob\tsha256:") {
		t.Errorf("blobs are %q", got) // of each image its layer, config and manifest
	}
	if got := list("-list-manifests", exitOK); len(got) != 3 || !strings.HasPrefix(got[0], "manifest\ta/b/c\tsha256:") {
		t.Errorf("manifests are %q", got)
	}
	if got := list("-list-manifests-from=single", exitOK); len(got) != 1 || !strings.HasPrefix(got[0], "manifest\tsingle\tsha256:") {
		t.Errorf("manifests of single are %q", got)
	}
	list("-list-manifests-from=singel", exitError)

	// What is not understood is named, and does not end the list.
	repositories := filepath.Join(directory, "docker/registry/v2/repositories")
	if err := os.MkdirAll(filepath.Join(repositories, "odd name"), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(repositories, "README"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, problems := run(t, "-experimental", "-list-repositories", file)
	if code != exitError || strings.Count(out, "\n") != 3 || !strings.Contains(problems, "odd name") || !strings.Contains(problems, "README") {
		t.Errorf("code %d, list %q, problems %q", code, out, problems)
	}
}

// Behaviour 87.
func TestRestoreSaysWhatIsLeft(t *testing.T) {
	_, file := storageOfOthers(t)
	c, _, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	driver, err := openStorage(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	blobs, err := store.New(t.Context(), driver, store.Options{Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	api := imageapitest.New("registry.test:5000", time.Now)
	api.AddNamespace("team")
	restored := func(mode, namespace string) (string, error) {
		t.Helper()
		var out, problems bytes.Buffer
		err := restore(t.Context(), c, &modes{restoreMode: mode, restoreNamespace: namespace}, recovery.Options{Store: blobs, API: api, Metadata: api}, output{&out, &problems})
		return out.String(), err
	}
	text, err := restored("check", "team")
	if !errors.Is(err, errProblems) || !strings.Contains(text, "it is not in the image stream; recover would tag it v1") || !strings.Contains(text, "Found 1 problems. Nothing was changed") {
		t.Errorf("check: %v\n%s", err, text)
	}
	text, err = restored("recover", "team")
	if err != nil || !strings.Contains(text, "repaired: tagged v1") || !strings.Contains(text, "Found 1 problems, repaired 1, 0 are left.") {
		t.Errorf("recover: %v\n%s", err, text)
	}
	if text, err = restored("check", "team"); err != nil || !strings.Contains(text, "Found no problems") {
		t.Errorf("check after recover: %v\n%s", err, text)
	}
	if text, err = restored("check", ""); !errors.Is(err, errProblems) || !strings.Contains(text, "single: the name is not <namespace>/<image stream>") {
		t.Errorf("check of everything: %v\n%s", err, text)
	}
	api.Fail(func(string) error { return errors.New("away") })
	if _, err = restored("check", ""); err == nil || errors.Is(err, errProblems) {
		t.Errorf("check without an API: %v", err)
	}
}

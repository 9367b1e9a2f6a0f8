package main

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func writeFile(t *testing.T, data string, path ...string) {
	t.Helper()
	file := filepath.Join(path...)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
}

// buildLayout writes an OCI layout of one blob and returns its digest.
func buildLayout(t *testing.T, dir, content string) string {
	t.Helper()
	sum := sha256.Sum256([]byte(content))
	hexadecimal := hex.EncodeToString(sum[:])
	writeFile(t, content, dir, "blobs", "sha256", hexadecimal)
	writeFile(t, `{"manifests":[{"digest":"sha256:`+hexadecimal+`"}]}`, dir, "index.json")
	return "sha256:" + hexadecimal
}

func TestVersionsAreNamesOfObjects(t *testing.T) {
	for text, good := range map[string]bool{
		"0.1.0": true, "10.20.30": true, "1.0.0-rc.1": true, "1.0.0-0a-b": true, "1.0.0--": true,
		"": false, "1": false, "1.0": false, "v1.0.0": false, "1.0.0.0": false, "01.0.0": false, "1.0.00": false,
		"1.0.0-": false, "1.0.0-a..b": false, "1.0.0-RC1": false, "1.0.0+build": false, "1.0.0-rc.1+b": false,
		"1.0.0 ": false, "1.0.0\n": false, "../1.0.0": false, "1.0.0-a/b": false, "-1.0.0": false,
		"1.0.0-" + strings.Repeat("a", 25):        false,
		"99999999999999999999999999.0.0":          false,
		"1.0.0-" + strings.Repeat("a", 63-33-6):   true,
		"1.0.0-" + strings.Repeat("a", 63-33-6+1): false,
	} {
		if err := checkVersion(text); (err == nil) != good {
			t.Errorf("%q: %v, want accepted %t", text, err, good)
		}
	}
}

func FuzzVersion(f *testing.F) {
	for _, seed := range []string{"1.0.0", "1.0.0-rc.1", "v1", "01.0.0", "1.0.0-0001"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if checkVersion(text) != nil {
			return
		}
		if name := csvName(text); len(name) > maxCSVName || strings.ToLower(name) != name || strings.ContainsAny(name, "/\\ \n+_") {
			t.Errorf("%q is accepted and makes the name %q", text, name)
		}
		if _, err := earlier(nil, "", text); err != nil {
			t.Errorf("%q is accepted, and then it is not: %v", text, err)
		}
	})
}

func TestTheHistoryAscends(t *testing.T) {
	for _, test := range []struct {
		name, replaces, release string
		history, want           []string
		refused                 bool
	}{
		{name: "the first", release: "0.1.0"},
		{name: "the second", release: "0.2.0", history: []string{"0.1.0"}, want: []string{"0.1.0"}},
		{name: "the third", release: "0.3.0", history: []string{"0.1.0", "0.2.0"}, want: []string{"0.1.0", "0.2.0"}},
		{name: "the third, said twice", release: "0.3.0", history: []string{"0.1.0", "0.2.0"}, replaces: "0.2.0", want: []string{"0.1.0", "0.2.0"}},
		{name: "the second was withdrawn", release: "0.3.0", history: []string{"0.1.0", "0.2.0"}, replaces: "0.1.0", want: []string{"0.1.0"}},
		{name: "not in the history yet", release: "0.3.0", history: []string{"0.1.0"}, replaces: "0.2.0", want: []string{"0.1.0", "0.2.0"}},
		{name: "numbers, not letters", release: "0.10.0", history: []string{"0.9.0"}, want: []string{"0.9.0"}},
		{name: "from a candidate", release: "0.2.0", history: []string{"0.2.0-rc.1"}, want: []string{"0.2.0-rc.1"}},
		{name: "backwards", release: "0.1.0", replaces: "0.2.0", refused: true},
		{name: "itself", release: "0.1.0", replaces: "0.1.0", refused: true},
		{name: "twice", release: "0.3.0", history: []string{"0.1.0", "0.1.0"}, refused: true},
		{name: "without order", release: "0.3.0", history: []string{"0.2.0", "0.1.0"}, refused: true},
		{name: "another folder", release: "0.3.0", history: []string{"../../0.1.0"}, refused: true},
		{name: "a candidate of what is out", release: "0.2.0-rc.1", history: []string{"0.2.0"}, refused: true},
	} {
		got, err := earlier(test.history, test.replaces, test.release)
		if (err != nil) != test.refused || !slices.Equal(got, test.want) && !test.refused {
			t.Errorf("%s: %q, error %v, want %q", test.name, got, err, test.want)
		}
	}
}

// rootWith is the repository with another release.yaml.
func rootWith(t *testing.T, release string) string {
	t.Helper()
	root := t.TempDir()
	for _, name := range []string{"hack/bundle/base.yaml", "hack/bundle/icon.svg"} {
		data, err := os.ReadFile(filepath.Join(repository, name))
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, string(data), root, name)
	}
	writeFile(t, release, root, "hack", "bundle", "release.yaml")
	manifests, err := filepath.Abs(filepath.Join(repository, "manifests"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(manifests, filepath.Join(root, "manifests")); err != nil {
		t.Fatal(err)
	}
	return root
}

// Three releases, each made from the entries that the ones before it left: the channel goes through all of them,
// and each may be skipped.
func TestTheChannelKeepsThreeReleases(t *testing.T) {
	o := repositoryOptions()
	o.Released = t.TempDir()
	entries := map[string]string{}
	var head string
	for _, release := range []struct{ version, history string }{{"0.2.0", "[]"}, {"0.9.0", "[0.2.0]"}, {"0.10.0", "[0.2.0, 0.9.0]"}} {
		o.Root = rootWith(t, "{version: "+release.version+", createdAt: now, history: "+release.history+"}")
		files := mustRender(t, o)
		entries[release.version] = string(files["catalog/"+packageName+"/v"+release.version+".yaml"])
		head = string(files["catalog/"+packageName+"/package.yaml"])
		for version, entry := range entries {
			if got := string(files["catalog/"+packageName+"/v"+version+".yaml"]); got != entry || got == "" {
				t.Errorf("release %s has another entry of %s", release.version, version)
			}
		}
		writeFile(t, entries[release.version], o.Released, "v"+release.version+".yaml")
	}
	_, channels, _ := strings.Cut(head, "---\n")
	entry := func(version, replaces string) any {
		e := object{"name": csvName(version), "skipRange": ">=0.0.1 <" + version}
		if replaces != "" {
			e["replaces"] = csvName(replaces)
		}
		return e
	}
	want := []any{entry("0.2.0", ""), entry("0.9.0", "0.2.0"), entry("0.10.0", "0.9.0")}
	if got := decoded(t, []byte(channels))["entries"]; !reflect.DeepEqual(got, want) {
		t.Errorf("the channel has %v, want %v", got, want)
	}
	o.Root = rootWith(t, "{version: 0.8.0, createdAt: now, history: [0.2.0, 0.9.0]}")
	if _, err := render(o); err == nil {
		t.Error("a release that replaces a later one was made")
	}
}

// The file of an earlier release decides what an upgrade installs.
func TestEntriesOfReleasesAreThoseOfTheirNames(t *testing.T) {
	good := string(mustRender(t, repositoryOptions())["catalog/"+packageName+"/v0.1.0.yaml"])
	for what, test := range map[string]struct {
		data string
		good bool
	}{
		"as it was made":     {good, true},
		"another version":    {strings.ReplaceAll(good, "0.1.0", "0.2.0"), false},
		"another property":   {strings.Replace(good, "version: 0.1.0", "version: 0.0.9", 1), false},
		"another package":    {strings.Replace(good, "package: "+packageName, "package: other", 1), false},
		"a channel":          {strings.Replace(good, "schema: olm.bundle", "schema: olm.channel", 1), false},
		"two documents":      {good + "---\nschema: olm.channel\n", false},
		"no image":           {strings.Replace(good, "\nimage: ", "\nimages: ", 1), false},
		"an image and blank": {strings.Replace(good, "\nimage: ", "\nimage: a b ", 1), false},
		"nothing":            {"", false},
		"a list":             {"- a\n", false},
	} {
		if err := checkEntry([]byte(test.data), "0.1.0"); (err == nil) != test.good {
			t.Errorf("%s: %v, want accepted %t", what, err, test.good)
		}
		if !test.good && test.data == good {
			t.Errorf("%s: the replacement found nothing", what)
		}
	}
}

func TestNamesOfImagesAreChecked(t *testing.T) {
	for what, change := range map[string]func(*options){
		"an address":     func(o *options) { o.Registry = "https://registry.example.com/team" },
		"upper case":     func(o *options) { o.Registry = "registry.example.com/Team" },
		"a blank":        func(o *options) { o.Registry = "registry.example.com/my team" },
		"no tag":         func(o *options) { o.Registry, o.Tag = "registry.example.com", "" },
		"a bad tag":      func(o *options) { o.Registry, o.Tag = "registry.example.com", "a b" },
		"bundle, no tag": func(o *options) { o.BundleImage = "registry.example.com/bundle" },
		"bundle, digest": func(o *options) { o.BundleImage = "registry.example.com/bundle@sha256:12" },
	} {
		o := repositoryOptions()
		change(&o)
		if _, err := render(o); err == nil {
			t.Errorf("%s: accepted", what)
		}
	}
}

func TestDigestsAreThoseOfTheBuiltImages(t *testing.T) {
	digest := "sha256:" + strings.Repeat("a", 64)
	for what, index := range map[string]string{
		"no blob":     `{"manifests":[{"digest":"` + digest + `"}]}`,
		"too short":   `{"manifests":[{"digest":"sha256:aa"}]}`,
		"a path":      `{"manifests":[{"digest":"sha256:../../../index.json"}]}`,
		"another sum": `{"manifests":[{"digest":"sha512:` + strings.Repeat("a", 128) + `"}]}`,
		"two images":  `{"manifests":[{"digest":"` + digest + `"},{"digest":"` + digest + `"}]}`,
		"no image":    `{}`,
		"no JSON":     `{`,
	} {
		dir := t.TempDir()
		writeFile(t, index, dir, "index.json")
		if _, err := layoutDigest(dir); err == nil {
			t.Errorf("%s: accepted", what)
		}
	}
	dir := t.TempDir()
	want := buildLayout(t, dir, "content")
	if got, err := layoutDigest(dir); err != nil || got != want {
		t.Errorf("a built image: %s, error %v, want %s", got, err, want)
	}
	writeFile(t, "other", dir, "blobs", "sha256", strings.TrimPrefix(want, "sha256:"))
	if _, err := layoutDigest(dir); err == nil {
		t.Error("content that does not have its digest was named by it")
	}
}

// Mirrors copy what the bundle lists, so what a Pod of the operator pulls is in the list.
func TestEveryImageOfTheDeploymentIsListed(t *testing.T) {
	fresh := func() *input {
		in, err := read(repositoryOptions())
		if err != nil {
			t.Fatal(err)
		}
		return in
	}
	for what, change := range map[string]func(in *input, container object){
		"init container": func(in *input, _ object) {
			dig(in.deployment, "spec", "template", "spec").(object)["initContainers"] = []any{object{"image": "x:y"}}
		},
		"own image":  func(_ *input, container object) { container["image"] = "localhost/other:dev" },
		"no value":   func(_ *input, container object) { delete(imageVariables(container)[1], "value") },
		"wrong name": func(_ *input, container object) { imageVariables(container)[1]["value"] = "a b" },
	} {
		in := fresh()
		container, err := operatorContainer(in.deployment)
		if err != nil {
			t.Fatal(err)
		}
		if err := in.checkImages(container); err != nil {
			t.Fatal(err)
		}
		change(in, container)
		if in.checkImages(container) == nil {
			t.Errorf("%s: accepted", what)
		}
	}
}

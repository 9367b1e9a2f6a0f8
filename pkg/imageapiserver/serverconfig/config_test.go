package serverconfig

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestMissingValuesGetDefaults(t *testing.T) {
	config, err := Parse([]byte("kind: ImageAPIServerConfig"))
	if err != nil {
		t.Fatal(err)
	}
	if config.ImageImport.DefaultImportMode != "PreserveOriginal" || *config.ImageImport.MaxTagsPerRepository != 50 || !*config.ImageLookup.Enabled {
		t.Errorf("defaults are missing: %+v", config)
	}
}

func TestInvalidValuesAreNamed(t *testing.T) {
	cases := map[string]string{
		"internalRegistryHost: a":                                             "internalRegistryHost",
		"kind: Deployment":                                                    "kind",
		"apiVersion: v2":                                                      "apiVersion",
		"internalRegistryHostname: https://a":                                 "internalRegistryHostname",
		"internalRegistryHostname: 'a:'":                                      "internalRegistryHostname",
		"externalRegistryHostnames: [a/b]":                                    "externalRegistryHostnames[0]",
		"imageStreams: {maxTagHistory: -1}":                                   "imageStreams.maxTagHistory",
		"imageImport: {deniedCIDRs: [10.0.0.1]}":                              "imageImport.deniedCIDRs[0]",
		"imageImport: {defaultImportMode: Both}":                              "imageImport.defaultImportMode",
		"imageImport: {maxTagsPerRepository: 0}":                              "imageImport.maxTagsPerRepository",
		"imageImport: {allowedRegistriesForImport: [{domainName: 'a:1:2'}]}":  "allowedRegistriesForImport[0].domainName",
		"imageImport: {mirrors: [{mirrors: [a]}]}":                            "imageImport.mirrors[0].source",
		"imageImport: {rateLimits: {hosts: {docker.io: {qps: 0, burst: 1}}}}": "imageImport.rateLimits.hosts[docker.io]",
		"imageImport: {workers: -1}":                                          "imageImport.workers",
		" \n":                                                                 "empty",
		"a: [":                                                                "yaml",
	}
	for text, want := range cases {
		_, err := Parse([]byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v does not name %s", text, err, want)
		}
	}
}

func TestChangesAreTakenOverAndBadOnesRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.yaml")
	write := func(text string) {
		t.Helper()
		// Renamed into place, as the kubelet does it.
		if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	write("internalRegistryHostname: one:5000")
	source, err := NewSource(file)
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	source.Refused = func(error) { refused++ }
	tick := make(chan time.Time)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go source.Run(ctx, tick)
	look := func() {
		tick <- time.Time{}
		tick <- time.Time{} // taken only after the first look is complete
	}

	write("internalRegistryHostname: two:5000")
	look()
	if got := source.Current().InternalRegistryHostname; got != "two:5000" {
		t.Errorf("after a change: %q", got)
	}
	write("internalRegistryHostname: three:5000\nunknown: true")
	look()
	if got := source.Current().InternalRegistryHostname; got != "two:5000" {
		t.Errorf("after a bad change: %q", got)
	}
	look()
	if refused != 1 {
		t.Errorf("one bad version was reported %d times", refused)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	look()
	look()
	if got := source.Current().InternalRegistryHostname; got != "two:5000" || refused != 2 {
		t.Errorf("without the file: host %q, want two:5000; %d reports, want one more than before", got, refused)
	}
	write("internalRegistryHostname: four:5000")
	look()
	if got := source.Current().InternalRegistryHostname; got != "four:5000" {
		t.Errorf("when the file is back: %q", got)
	}
}

func TestBadFileIsRefusedAtTheStart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.yaml")
	if _, err := NewSource(file); err == nil {
		t.Error("a missing file was accepted")
	}
	if err := os.WriteFile(file, []byte("unknown: true"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := NewSource(file); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("error %v does not name the file", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("internalRegistryHostname: a:5000\nimageImport: {workers: 3}")
	f.Fuzz(func(t *testing.T, text string) {
		if config, err := Parse([]byte(text)); err == nil && config == nil {
			t.Error("neither configuration nor error")
		}
	})
}

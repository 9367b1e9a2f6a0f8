package imageapiconfig

import (
	"strings"
	"testing"
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

func FuzzParse(f *testing.F) {
	f.Add("internalRegistryHostname: a:5000\nimageImport: {workers: 3}")
	f.Fuzz(func(t *testing.T, text string) {
		if config, err := Parse([]byte(text)); err == nil && config == nil {
			t.Error("neither configuration nor error")
		}
	})
}

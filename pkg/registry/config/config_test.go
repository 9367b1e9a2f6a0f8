package config

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const minimal = `
version: 0.1
storage: {inmemory: {}}
alauda: {server: {addr: "registry.test:5000"}}
`

func parse(t *testing.T, raw string) (*Config, []string) {
	t.Helper()
	config, warnings, err := Parse([]byte(raw))
	if err != nil {
		t.Fatalf("Parse: %v", err)
	}
	return config, warnings
}

// Behaviour 89.
func TestDefaultsAreFilledIn(t *testing.T) {
	config, warnings := parse(t, minimal)
	if len(warnings) > 0 {
		t.Errorf("warnings %v", warnings)
	}
	if !config.Configuration.HTTP.RelativeURLs || !config.Alauda.Auth.Anonymous || config.Alauda.Auth.Cache.AllowTTL != 30*time.Second || config.Alauda.Manifests.MaxSize != 4<<20 {
		t.Errorf("defaults are missing: %+v", config.Alauda)
	}
}

func TestShippedFileRepeatsTheDefaults(t *testing.T) {
	shipped, warnings, err := Load(filepath.Join("..", "..", "..", "images", "image-registry", "config.yml"))
	if err != nil || len(warnings) > 0 {
		t.Fatalf("Load: %v, warnings %v", err, warnings)
	}
	bare, _ := parse(t, minimal)
	bare.Alauda.Server = shipped.Alauda.Server
	if diff := cmp.Diff(bare.Alauda, shipped.Alauda, cmp.Transformer("nil", func(s []string) []string { return append([]string{}, s...) })); diff != "" {
		t.Errorf("the shipped file differs from the defaults:\n%s", diff)
	}
	if driver, err := shipped.StorageDriver(); err != nil || driver != "filesystem" {
		t.Errorf("driver %q, %v", driver, err)
	}
}

// Behaviour 89.
func TestFileValuesWinOverDefaults(t *testing.T) {
	config, _ := parse(t, minimal+"http: {relativeurls: false}\n")
	if config.Configuration.HTTP.RelativeURLs || config.Configuration.HTTP.Addr != ":5000" {
		t.Errorf("http %+v", config.Configuration.HTTP)
	}
}

// Behaviour 89.
func TestEnvironmentOverridesTheFile(t *testing.T) {
	t.Setenv("REGISTRY_STORAGE", "filesystem")
	t.Setenv("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", "/data")
	t.Setenv("REGISTRY_STORAGE_MAINTENANCE_READONLY", "{enabled: true}")
	t.Setenv("REGISTRY_STORAGE_REDIRECT_DISABLE", "true")
	t.Setenv("REGISTRY_HTTP_SECRET", "shared")
	t.Setenv("REGISTRY_ALAUDA_AUTH_AUDIENCE", `""`)
	t.Setenv("REGISTRY_ALAUDA_SERVER_ADDITIONALHOSTS", "[a.example, b.example]")
	t.Setenv("REGISTRY_ALAUDA_REQUESTS_READ_MAXRUNNING", "7")
	config, _ := parse(t, minimal)
	driver, err := config.StorageDriver()
	if err != nil || driver != "filesystem" || config.Configuration.Storage["filesystem"]["rootdirectory"] != "/data" {
		t.Errorf("storage %v (%v), want only the filesystem", config.Configuration.Storage, err)
	}
	if !config.ReadOnly() || !config.RedirectDisabled() {
		t.Errorf("read-only %t, redirect disabled %t, want both", config.ReadOnly(), config.RedirectDisabled())
	}
	if config.Configuration.HTTP.Secret != "shared" || config.Alauda.Auth.Audience != "" || config.Alauda.Requests.Read.MaxRunning != 7 {
		t.Errorf("environment was not applied: %+v", config.Alauda)
	}
	if diff := cmp.Diff([]string{"a.example", "b.example"}, config.Alauda.Server.AdditionalHosts); diff != "" {
		t.Error(diff)
	}
}

// Behaviour 89.
func TestErrorsNameTheKey(t *testing.T) {
	tests := []struct{ name, raw, want string }{
		{"two drivers", "version: 0.1\nstorage: {inmemory: {}, filesystem: {}}\nalauda: {server: {addr: a}}", "exactly one storage type"},
		{"no storage", "version: 0.1\nalauda: {server: {addr: a}}", "storage: no driver"},
		{"no address", "version: 0.1\nstorage: inmemory", "alauda.server.addr"},
		{"version", strings.Replace(minimal, "0.1", "0.2", 1), "unsupported version"},
		{"own version", minimal + "  \n", ""},
		{"own version 2", strings.Replace(minimal, "alauda: {", `alauda: {version: "2.0", `, 1), "alauda.version"},
		{"negative limit", strings.Replace(minimal, "alauda: {", "alauda: {requests: {write: {maxinqueue: -1}}, ", 1), "alauda.requests.write"},
		{"negative lifetime", strings.Replace(minimal, "alauda: {", "alauda: {auth: {cache: {denyttl: -1s}}, ", 1), "alauda.auth.cache.denyttl"},
		{"realm with a path", strings.Replace(minimal, "alauda: {", "alauda: {auth: {tokenrealm: 'https://a/b'}, ", 1), "alauda.auth.tokenrealm"},
		{"key without certificate", minimal + "http: {tls: {key: x}}", "http.tls"},
		{"bad pattern", minimal + "validation: {manifests: {urls: {deny: ['(']}}}", "validation.manifests.urls"},
		{"bad network", strings.Replace(minimal, "alauda: {", "alauda: {pullthrough: {deniedcidrs: [10.0.0.1]}, ", 1), "alauda.pullthrough.deniedcidrs"},
		{"mirrors of nothing", strings.Replace(minimal, "alauda: {", "alauda: {pullthrough: {mirrors: [{mirrors: [a]}]}, ", 1), "alauda.pullthrough.mirrors"},
		{"bad mirror policy", strings.Replace(minimal, "alauda: {", "alauda: {pullthrough: {mirrors: [{source: a, mirrorSourcePolicy: Never}]}, ", 1), "mirrorSourcePolicy"},
		{"not YAML", "version: [", "yaml"},
		{"wrong type", minimal + "tags: {maxtags: many}", "maxtags"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, _, err := Parse([]byte(test.raw))
			if test.want == "" {
				if err != nil {
					t.Errorf("Parse: %v", err)
				}
				return
			}
			if err == nil || (!strings.Contains(err.Error(), test.want) && test.name != "wrong type") {
				t.Errorf("Parse = %v, want an error naming %q", err, test.want)
			}
		})
	}
}

func TestUnknownAndIgnoredKeysWarn(t *testing.T) {
	_, warnings := parse(t, minimal+"proxy: {remoteurl: 'https://a'}\nfuture: 1\nauth: {token: {}}\n")
	text := strings.Join(warnings, "\n")
	for _, want := range []string{"future", "proxy", "section auth"} {
		if !strings.Contains(text, want) {
			t.Errorf("warnings %q do not mention %s", text, want)
		}
	}
}

func TestNoAuthIsRefusedBesideACluster(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "198.18.0.1")
	if _, _, err := Parse([]byte(minimal + "auth: {none: {}}\n")); err == nil {
		t.Error("auth: none was accepted inside a cluster")
	}
	t.Setenv("REGISTRY_ALAUDA_ALLOWNOAUTH", "true")
	if config, _ := parse(t, minimal+"auth: none\n"); !config.NoAuth() {
		t.Error("auth: none has no effect")
	}
}

func TestPathOrder(t *testing.T) {
	t.Setenv(PathVariable, "")
	if err := os.Unsetenv(PathVariable); err != nil {
		t.Fatal(err)
	}
	if got := Path(""); got != DefaultPath {
		t.Errorf("Path = %q", got)
	}
	t.Setenv(PathVariable, "/env.yml")
	if Path("") != "/env.yml" || Path("/arg.yml") != "/arg.yml" {
		t.Errorf("the argument must win over the environment, and that over the default")
	}
}

// Behaviour 75: the operator copies the settings of imports as they are written there.
func TestPullThroughFollowsTheVariablesOfTheOperator(t *testing.T) {
	t.Setenv("REGISTRY_ALAUDA_PULLTHROUGH_MIRRORS", `[{"insecure":true,"mirrorSourcePolicy":"NeverContactSource","mirrors":["mirror.test:5000/team"],"source":"quay.io/team"}]`)
	t.Setenv("REGISTRY_ALAUDA_PULLTHROUGH_DENIEDCIDRS", `[]`)
	t.Setenv("REGISTRY_ALAUDA_PULLTHROUGH_ALLOWEDHOSTS", `["a.test:1"]`)
	c, warnings, err := Parse([]byte(minimal))
	if err != nil || len(warnings) > 0 {
		t.Fatalf("%v, warnings %v", err, warnings)
	}
	got := c.Alauda.PullThrough
	want := MirrorRule{Source: "quay.io/team", Mirrors: []string{"mirror.test:5000/team"}, Insecure: true, MirrorSourcePolicy: "NeverContactSource"}
	if len(got.Mirrors) != 1 || !reflect.DeepEqual(got.Mirrors[0], want) {
		t.Errorf("mirrors are %+v, want %+v", got.Mirrors, want)
	}
	if len(got.DeniedCIDRs) != 0 || !slices.Equal(got.AllowedHosts, []string{"a.test:1"}) || !got.Mirror {
		t.Errorf("got %+v", got)
	}
}

func TestAFileSystemHasNothingToRedirectTo(t *testing.T) {
	for name, test := range map[string]struct {
		settings string
		want     bool
	}{
		"file system":                   {"storage: {filesystem: {}}", true},
		"file system behind middleware": {"storage: {filesystem: {}}\nmiddleware: {storage: [{name: redirect, options: {baseurl: 'https://cdn.test'}}]}", false},
		"memory":                        {"storage: {inmemory: {}}", false},
	} {
		c, _, err := Parse([]byte("version: 0.1\n" + test.settings + "\nalauda: {server: {addr: registry.test}}\n"))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := c.RedirectDisabled(); got != test.want {
			t.Errorf("%s: redirects disabled %t, want %t", name, got, test.want)
		}
	}
}

// Variables of the environment are put over the file, so that both can name a kind. Which of
// them counts must not be left to chance.
func TestTwoKindsOfAuthenticationAreRefused(t *testing.T) {
	for _, variable := range []string{"KUBECONFIG", "KUBERNETES_SERVICE_HOST"} {
		t.Setenv(variable, "")
	}
	raw := []byte("version: 0.1\nstorage: {inmemory: {}}\nauth: {htpasswd: {realm: x}}\nalauda: {server: {addr: 'registry.test:5000'}}\n")
	if c, _, err := Parse(raw); err != nil || c.NoAuth() {
		t.Fatalf("one kind: %v", err)
	}
	t.Setenv("REGISTRY_AUTH_NONE_REALM", "x")
	for range 20 {
		if c, _, err := Parse(raw); err == nil {
			t.Fatalf("accepted; no authentication: %t", c.NoAuth())
		}
	}
}

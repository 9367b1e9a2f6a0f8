package trustroots

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"image.alauda.io/registry/pkg/nodeca/fsroot"
	"image.alauda.io/registry/pkg/nodeca/reasons"
)

const literalList = "containerd/certs.d:/etc/docker/certs.d"

func tree(t *testing.T, files map[string]string) *fsroot.Root {
	t.Helper()
	etc := t.TempDir()
	for name, text := range files {
		file := filepath.Join(etc, name)
		if strings.HasSuffix(name, "/") {
			if err := os.MkdirAll(file, 0o755); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	root, err := fsroot.Open(etc, fsroot.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root
}

// describe is one line: the active roots with their effect, and the reasons.
func describe(result Result) string {
	var parts []string
	for _, root := range result.Roots {
		if root.Active {
			parts = append(parts, fmt.Sprintf("%s=%s", root.Path, root.Effect))
		}
	}
	for _, reason := range result.Reasons {
		parts = append(parts, reason.Reason)
	}
	return strings.Join(parts, " ")
}

// Behaviour 6.
func TestContainerdConfiguration(t *testing.T) {
	v3 := func(registry string) string {
		return "version = 3\n[plugins.\"io.containerd.cri.v1.images\".registry]\n" + registry + "\n"
	}
	v2 := func(registry string) string {
		return "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\n" + registry + "\n"
	}
	const (
		certs  = "containerd/certs.d=true"
		asList = "containerd/certs.d=true " + literalList + "=true ConfigPathList"
		old    = "containerd://1.7.27"
		fresh  = "containerd://2.2.1"
	)
	for name, test := range map[string]struct {
		config   string
		runtimes []string
		want     string
	}{
		"version 2":           {v2(`config_path = "/etc/containerd/certs.d"`), nil, certs},
		"version 3":           {v3(`config_path = "/etc/containerd/certs.d"`), nil, certs},
		"version 4":           {"version = 4\n", []string{old}, asList},
		"other path":          {v3(`config_path = "/etc/registries"`), nil, "registries=true"},
		"list":                {v3(`config_path = "/etc/containerd/certs.d:/etc/docker/certs.d"`), nil, asList},
		"outside":             {v3(`config_path = "/var/lib/certs.d"`), nil, "ConfigPathUnreachable"},
		"climbing out":        {v3(`config_path = "/etc/../var/certs.d"`), nil, "ConfigPathUnreachable"},
		"list outside":        {v3(`config_path = "/opt/a:/etc/b"`), nil, "ConfigPathUnreachable"},
		"mirrors":             {v2(`mirrors."docker.io".endpoint = ["https://m"]`), nil, "containerd/certs.d=false LegacyMirrors"},
		"CRI disabled":        {`disabled_plugins = ["cri"]`, nil, ""},
		"unset, old":          {v2(""), []string{old, "cri-o://1.30.0"}, "containerd/certs.d=false ConfigPathNotSet"},
		"empty value, old":    {v2(`config_path = ""`), []string{old}, "containerd/certs.d=false ConfigPathNotSet"},
		"unset, new":          {v3(""), []string{fresh, "containerd://v2.3.0-rc.1"}, asList},
		"unset, mixed":        {v3(""), []string{old, fresh}, "containerd/certs.d=unknown " + literalList + "=unknown ConfigPathList ConfigPathUnknown"},
		"unset, unknown":      {v3(""), nil, "containerd/certs.d=unknown " + literalList + "=unknown ConfigPathList ConfigPathUnknown"},
		"version 1":           {"version = 1\n", nil, "containerd/certs.d=false UnsupportedRuntime"},
		"no version, plugins": {"[plugins.cri]\n", nil, "containerd/certs.d=false UnsupportedRuntime"},
		"no version, nothing": {"root = '/x'\n", []string{fresh}, asList},
		"containerd 1.4":      {v2(`config_path = "/etc/containerd/certs.d"`), []string{"containerd://1.4.3"}, "containerd/certs.d=false UnsupportedRuntime"},
		"not TOML":            {"[[[", nil, "containerd/certs.d=unknown ConfigUnreadable"},
	} {
		t.Run(name, func(t *testing.T) {
			config, err := ParseConfig([]byte(test.config))
			if err != nil {
				config.Problem = err.Error()
			}
			if got := describe(Decide(config, test.runtimes)); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

// Behaviour 6.
func TestImportsAreMergedInOrder(t *testing.T) {
	set := func(path string) string {
		return "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"" + path + "\"\n"
	}
	for name, test := range map[string]struct {
		files map[string]string
		want  string
	}{
		"glob, later wins": {map[string]string{
			"containerd/config.toml": "imports = [\"conf.d/*.toml\"]\n" + set("/etc/first"), "containerd/conf.d/a.toml": set("/etc/a"), "containerd/conf.d/b.toml": set("/etc/b"), "containerd/conf.d/c.txt": "[["}, "b=true"},
		"absolute": {map[string]string{
			"containerd/config.toml": "version = 2\nimports = [\"/etc/other/*.toml\"]\n", "other/x.toml": set("/etc/x")}, "x=true"},
		"missing": {map[string]string{"containerd/config.toml": "imports = [\"nothing/*.toml\", \"none.toml\"]\n" + set("/etc/first")}, "first=true"},
		"outside": {map[string]string{"containerd/config.toml": "imports = [\"/run/x.toml\"]\n" + set("/etc/first")}, "first=unknown ConfigUnreadable"},
		"broken":  {map[string]string{"containerd/config.toml": "imports = [\"x.toml\"]\n" + set("/etc/first"), "containerd/x.toml": "[["}, "first=unknown ConfigUnreadable"},
		"circle":  {map[string]string{"containerd/config.toml": "imports = [\"config.toml\"]\n" + set("/etc/first")}, "first=true"},
	} {
		if got := describe(Detect(tree(t, test.files), Options{})); got != test.want {
			t.Errorf("%s: got %s, want %s", name, got, test.want)
		}
	}
}

// Behaviour 5.
func TestExistingDirectoriesSelectTheRoots(t *testing.T) {
	runtimes := []string{"containerd://2.2.1"}
	const list = "containerd/certs.d=true " + literalList + "=true"
	for name, test := range map[string]struct {
		files   map[string]string
		options Options
		want    string
	}{
		"none":                    {nil, Options{}, "containerd/certs.d=unknown RuntimeNotRecognised"},
		"containerd":              {map[string]string{"containerd/": ""}, Options{Runtimes: runtimes}, list + " ConfigPathList"},
		"containers":              {map[string]string{"containers/": ""}, Options{}, "containers/certs.d=true"},
		"docker":                  {map[string]string{"docker/": ""}, Options{}, "docker/certs.d=true"},
		"docker's own containerd": {map[string]string{"docker/": "", "containerd/config.toml": `disabled_plugins = ["cri"]`}, Options{}, "docker/certs.d=true"},
		"all": {map[string]string{"containerd/": "", "containers/": "", "docker/": ""}, Options{Runtimes: runtimes},
			list + " containers/certs.d=true docker/certs.d=true ConfigPathList"},
		"forced": {map[string]string{"containerd/": ""}, Options{Forced: []string{"/etc/docker/certs.d", "/var/x"}},
			"docker/certs.d=unknown ConfigPathUnreachable"},
		"made by the agent": {map[string]string{"containerd/": "", "docker/": ""},
			Options{CreatedByAgent: func(path string) bool { return path == containerdRoot }}, "docker/certs.d=true"},
	} {
		t.Run(name, func(t *testing.T) {
			result := Detect(tree(t, test.files), test.options)
			if got := describe(result); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
			if len(result.Roots) < 4 {
				t.Errorf("known roots are missing: %+v", result.Roots)
			}
		})
	}
}

// Behaviour 11: some systems keep the configuration of a runtime elsewhere and link to it. Such a runtime is
// there, so another one that is served must not hide that it is not.
func TestARuntimeBehindALinkIsNamed(t *testing.T) {
	elsewhere := t.TempDir()
	for _, linked := range []string{"containerd", "containers", "docker"} {
		dir := t.TempDir()
		for _, runtime := range []string{"containerd", "containers", "docker"} {
			if runtime == linked {
				if err := os.Symlink(elsewhere, filepath.Join(dir, runtime)); err != nil {
					t.Fatal(err)
				}
			} else if err := os.Mkdir(filepath.Join(dir, runtime), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		root, err := fsroot.Open(dir, fsroot.Options{})
		if err != nil {
			t.Fatal(err)
		}
		result := Detect(root, Options{})
		root.Close()
		named := false
		for _, reason := range result.Reasons {
			named = named || (reason.Reason == reasons.SymlinkRefused && reason.Root == "/etc/"+linked)
		}
		for _, found := range result.Roots {
			if found.Active && strings.HasPrefix(found.Path, linked+"/") {
				t.Errorf("%s is served behind the link", found.Path)
			}
		}
		if !named {
			t.Errorf("nothing says that /etc/%s is a link: %+v", linked, result.Reasons)
		}
	}
}

// Behaviours 5, 9: the second directory that the same runtimes look into.
func TestRootsKnowTheirFallback(t *testing.T) {
	files := map[string]string{"containerd/": "", "containers/": "", "docker/": ""}
	got := map[string]string{}
	for _, root := range Detect(tree(t, files), Options{Runtimes: []string{"containerd://2.2.1"}}).Roots {
		if root.Fallback != "" {
			got[root.Path] = root.Fallback
		}
	}
	if len(got) != 2 || got[containerdRoot] != dockerRoot || got[containersRoot] != dockerRoot {
		t.Errorf("fallbacks %v", got)
	}
}

// Behaviour 4.
func FuzzParseConfig(f *testing.F) {
	f.Add([]byte("version = 2\nimports = ['a']\n[plugins.'io.containerd.grpc.v1.cri'.registry]\nconfig_path = '/etc/a:/etc/b'\n"))
	f.Add([]byte("plugins = 1"))
	f.Fuzz(func(t *testing.T, data []byte) {
		config, err := ParseConfig(data)
		if err != nil {
			return
		}
		for _, root := range Decide(config, nil).Roots {
			if strings.HasPrefix(root.Path, "/") || strings.Contains("/"+root.Path+"/", "/../") || root.Path == "" {
				t.Fatalf("root %q from %q", root.Path, data)
			}
		}
	})
}

// Behaviour 6: what is to be added has the form that the containerd of the node reads. A file without a version
// is one of version 1 for it, in which no directory can be named.
func TestTheStanzaFitsTheConfiguration(t *testing.T) {
	const v2, v3 = `[plugins."io.containerd.grpc.v1.cri".registry]`, `[plugins."io.containerd.cri.v1.images".registry]`
	for config, want := range map[string]string{
		"":              "begin /etc/containerd/config.toml with version = 2, set in it " + v2,
		"# empty":       "begin /etc/containerd/config.toml with version = 2, set in it " + v2,
		"version = 2\n": "set " + v2,
		"version = 3\n": "set " + v3,
	} {
		files := map[string]string{"containerd/": ""}
		if config != "" {
			files["containerd/config.toml"] = config
		}
		result := Detect(tree(t, files), Options{Runtimes: []string{"containerd://1.7.35"}})
		if len(result.Reasons) != 1 || result.Reasons[0].Reason != reasons.ConfigPathNotSet || !strings.Contains(result.Reasons[0].Message, "; "+want) {
			t.Errorf("%q: want %q, got %+v", config, want, result.Reasons)
		}
	}
}

package trustroots

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"image.alauda.io/registry/pkg/nodeca/fsroot"
)

const (
	pluginImages = "io.containerd.cri.v1.images"
	pluginCRI    = "io.containerd.grpc.v1.cri"

	configFile    = "containerd/config.toml"
	maxConfigSize = 1 << 20
	// maxImports bounds how many files one configuration may import.
	maxImports = 64
)

// configText is the part of config.toml that is read.
type configText struct {
	Version         any            `toml:"version"`
	DisabledPlugins []string       `toml:"disabled_plugins"`
	Imports         []string       `toml:"imports"`
	Plugins         map[string]any `toml:"plugins"`
}

// merged collects the files in the order in which containerd loads them; later values win per key.
type merged struct {
	config  Config
	paths   map[string]string
	mirrors map[string]bool
}

// ParseConfig reads one file of containerd's configuration, without its imports.
func ParseConfig(data []byte) (Config, error) {
	m := newMerged()
	if _, err := m.add(data); err != nil {
		return Config{}, err
	}
	return m.finish(), nil
}

func newMerged() *merged {
	return &merged{paths: map[string]string{}, mirrors: map[string]bool{}}
}

func (m *merged) add(data []byte) (imports []string, err error) {
	var text configText
	if err := toml.Unmarshal(data, &text); err != nil {
		return nil, fmt.Errorf("not valid TOML: %w", err)
	}
	m.config.Present = true
	if version, ok := text.Version.(int64); ok {
		m.config.Version = int(version)
	}
	m.config.HasPlugins = m.config.HasPlugins || len(text.Plugins) > 0
	for _, plugin := range text.DisabledPlugins {
		if plugin == "cri" || plugin == pluginCRI || plugin == pluginImages {
			m.config.CRIDisabled = true
		}
	}
	for _, name := range []string{pluginImages, pluginCRI} {
		plugin, _ := text.Plugins[name].(map[string]any)
		registry, _ := plugin["registry"].(map[string]any)
		if value, ok := registry["config_path"].(string); ok {
			m.paths[name] = value
		}
		if value, ok := registry["mirrors"].(map[string]any); ok {
			m.mirrors[name] = len(value) > 0
		}
	}
	return text.Imports, nil
}

func (m *merged) finish() Config {
	for _, name := range []string{pluginImages, pluginCRI} {
		if m.config.ConfigPath == "" {
			m.config.ConfigPath = strings.TrimSpace(m.paths[name])
		}
		m.config.Mirrors = m.config.Mirrors || m.mirrors[name]
	}
	return m.config
}

// readConfig reads config.toml and everything it imports.
func readConfig(root *fsroot.Root) Config {
	m := newMerged()
	loaded := map[string]bool{}
	pending := []string{configFile}
	for len(pending) > 0 && len(loaded) < maxImports {
		file := pending[0]
		pending = pending[1:]
		if loaded[file] {
			continue
		}
		loaded[file] = true
		data, err := readFile(root, file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		var imports []string
		if err == nil {
			imports, err = m.add(data)
		}
		if err != nil {
			m.problem(root.HostPath(file), err, file != configFile)
			continue
		}
		for _, pattern := range imports {
			files, err := expand(root, path.Dir(file), pattern)
			if err != nil {
				m.problem(pattern, err, true)
			}
			pending = append(pending, files...)
		}
	}
	return m.finish()
}

func (m *merged) problem(file string, err error, partial bool) {
	m.config.Problem = fmt.Sprintf("%s: %v", file, err)
	m.config.Partial = partial
}

func readFile(root *fsroot.Root, rel string) ([]byte, error) {
	dir, err := root.Dir(path.Dir(rel))
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	data, _, err := dir.ReadFile(path.Base(rel), maxConfigSize)
	return data, err
}

// expand resolves an import, which may be a pattern and is relative to the importing file.
func expand(root *fsroot.Root, base, pattern string) ([]string, error) {
	rel := path.Join(base, pattern)
	if path.IsAbs(pattern) {
		below, ok := belowEtc(pattern)
		if !ok {
			return nil, errors.New("is outside /etc")
		}
		rel = below
	}
	if !fs.ValidPath(rel) {
		return nil, errors.New("is outside /etc")
	}
	found := []string{"."}
	for part := range strings.SplitSeq(rel, "/") {
		next, err := matches(root, found, part)
		if err != nil {
			return nil, err
		}
		found = next
	}
	return found, nil
}

func matches(root *fsroot.Root, dirs []string, part string) ([]string, error) {
	var found []string
	for _, dirPath := range dirs {
		if !strings.ContainsAny(part, `*?[\`) {
			found = append(found, path.Join(dirPath, part))
			continue
		}
		dir, err := root.Dir(dirPath)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		names, err := dir.List()
		dir.Close()
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			matched, err := path.Match(part, name)
			if err != nil {
				return nil, err
			}
			if matched {
				found = append(found, path.Join(dirPath, name))
			}
		}
	}
	return found, nil
}

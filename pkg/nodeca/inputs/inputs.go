// Package inputs reads what the operator tells the nodes: two mounted ConfigMaps.
//
// The volume of image-registry-certificates holds one file per registry host with the certificates to
// trust; the volume of node-ca-config holds config.json with the addresses of the registry's Service,
// the registry's own hosts and the hash of the certificates it belongs to. Read returns whatever of it
// is valid together with reasons for what is not; a bad entry never hides the good ones.
//
// All values are treated as hostile: hosts, names and addresses are checked against fixed rules, so
// that the agent cannot be used to write outside its folders or to redirect other names.
//
// The package only reads, and only the two directories it is given. It never decides what is applied.
package inputs

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"image.alauda.io/registry/pkg/hostcerts"
	"image.alauda.io/registry/pkg/nodeca/reasons"
)

const (
	// dataLink is the link by which the kubelet replaces all files of a volume at once.
	dataLink = "..data"
	// maxValue bounds what is read of one file; a whole ConfigMap holds at most 1 MiB.
	maxValue = 2 << 20
)

// Inputs is one reading of both volumes.
type Inputs struct {
	// Bundles holds the valid certificates by host, spelt as in image references.
	Bundles map[string]*hostcerts.Bundle
	// Kept are hosts whose value is invalid: what was written for them before stays.
	Kept map[string]bool
	// Hash is computed over all mounted certificates in the way the operator computes it.
	Hash string
	// Config is nil when there is no valid configuration.
	Config *Config
	// Missing is true when an input is absent, unreadable or without any valid key.
	Missing bool
	// Reasons tell what is wrong with the inputs.
	Reasons []reasons.Reason
}

// Fingerprint identifies the content, to see how long it has been stable.
func (in *Inputs) Fingerprint() string {
	if in.Config == nil {
		return in.Hash
	}
	return in.Hash + " " + in.Config.fingerprint
}

// Sources says where the volumes are mounted and what the node can reach.
type Sources struct {
	CertificatesDir string
	ConfigDir       string
	Families        Families
}

// Read reads both volumes. It never fails as a whole: see Inputs.Missing and Inputs.Reasons.
func Read(sources Sources, now time.Time) *Inputs {
	in := &Inputs{Bundles: map[string]*hostcerts.Bundle{}, Kept: map[string]bool{}}
	values, err := readVolume(sources.CertificatesDir)
	if err != nil {
		in.Missing = true
		in.add(reasons.ConfigurationMissing, "", "certificates of image-registry-certificates: %v", err)
	}
	in.certificates(values, now)
	in.configuration(sources)
	return in
}

func (in *Inputs) add(word, host, format string, args ...any) {
	in.Reasons = append(in.Reasons, reasons.New(word, "", host, format, args...))
}

// certificates checks all values in the order of their keys.
func (in *Inputs) certificates(values map[string][]byte, now time.Time) {
	in.Hash = Hash(values)
	for _, key := range sortedKeys(values) {
		if hostcerts.Ignored(key) {
			continue
		}
		host, err := hostcerts.ParseKey(key)
		if err != nil {
			in.add(reasons.InvalidKey, "", "%v", err)
			continue
		}
		bundle, err := hostcerts.Normalise(values[key], now)
		if err != nil {
			in.Kept[host] = true
			in.add(reasons.InvalidPEM, host, "certificates of %s: %v; the previous file stays", host, err)
			continue
		}
		in.Bundles[host] = bundle
		if bundle.Expired {
			in.add(reasons.CAExpired, host, "every certificate of %s has expired, the first on %s", host, bundle.NotAfter.UTC().Format(time.RFC3339))
		}
	}
	if len(in.Bundles) == 0 && !in.Missing {
		in.Missing = true
		in.add(reasons.ConfigurationMissing, "", "image-registry-certificates holds no valid certificate for any host")
	}
}

func (in *Inputs) configuration(sources Sources) {
	values, err := readVolume(sources.ConfigDir)
	data, found := values[configKey]
	switch {
	case err != nil:
		in.Missing = true
		in.add(reasons.ConfigurationMissing, "", "configuration of node-ca-config: %v", err)
	case !found:
		in.Missing = true
		in.add(reasons.ConfigurationMissing, "", "node-ca-config has no key %s", configKey)
	default:
		config, found, err := ParseConfig(data, sources.Families)
		in.Reasons = append(in.Reasons, found...)
		if err != nil {
			in.add(reasons.InvalidConfiguration, "", "%v; the previous configuration stays", err)
			return
		}
		in.Config = config
	}
}

// Hash is "sha256:" and the hex SHA-256 over the sorted lines "<key> <hex SHA-256 of value>\n".
func Hash(values map[string][]byte) string {
	lines := make([]string, 0, len(values))
	for key, value := range values {
		lines = append(lines, fmt.Sprintf("%s %x\n", key, sha256.Sum256(value)))
	}
	slices.Sort(lines)
	sum := sha256.Sum256([]byte(strings.Join(lines, "")))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// readVolume returns the keys of a mounted ConfigMap. All files are read through one opened directory
// of the volume, so that an update in between cannot mix two versions.
func readVolume(dir string) (map[string][]byte, error) {
	current := filepath.Join(dir, dataLink)
	if resolved, err := filepath.EvalSymlinks(current); err == nil {
		current = resolved
	} else if errors.Is(err, fs.ErrNotExist) {
		current = dir // a plain directory, as given to the `once` command by hand
	} else {
		return nil, err
	}
	entries, err := os.ReadDir(current)
	if err != nil {
		return nil, err
	}
	values := make(map[string][]byte, len(entries))
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), "..") || entry.IsDir() {
			continue
		}
		data, err := readValue(filepath.Join(current, entry.Name()))
		if err != nil {
			return nil, err
		}
		values[entry.Name()] = data
	}
	return values, nil
}

func readValue(file string) ([]byte, error) {
	in, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	return io.ReadAll(io.LimitReader(in, maxValue))
}

func sortedKeys(values map[string][]byte) []string {
	keys := make([]string, 0, len(values))
	for key := range values {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

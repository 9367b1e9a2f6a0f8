package remote

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"image.alauda.io/registry/pkg/hostcerts"

	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
)

// trust knows the certificate authorities of single registries. Their files are looked at when somebody
// asks, and read only when they changed.
type trust struct {
	clock clock.PassiveClock
	dirs  []string
	every time.Duration

	mu        sync.Mutex
	checked   time.Time
	signature string
	anchors   map[string]anchor
}

// anchor is what one registry's certificate may come from, in addition to the system's authorities.
type anchor struct {
	// id changes with the content; it is empty for a registry without authorities of its own.
	id          string
	certificate []*x509.Certificate
}

// pool returns the system's authorities and those of the anchor.
func (a anchor) pool() *x509.CertPool {
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	for _, certificate := range a.certificate {
		pool.AddCert(certificate)
	}
	return pool
}

// of returns the anchor of the host of a URL.
func (t *trust) of(urlHost string) anchor {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now := t.clock.Now(); t.anchors == nil || now.Sub(t.checked) >= t.every {
		t.checked = now
		t.reload(now)
	}
	host := strings.ToLower(urlHost)
	if found, ok := t.anchors[host]; ok {
		return found
	}
	if host == hubConnectHost {
		return t.anchors[canonicalHost(host)]
	}
	return anchor{}
}

// reload reads the files when their names, sizes or times changed. A file that cannot be used leaves
// its host with the system's authorities and all others alone.
func (t *trust) reload(now time.Time) {
	files, signature := t.list()
	if t.anchors != nil && signature == t.signature {
		return
	}
	anchors := map[string]anchor{}
	for _, file := range files {
		host, err := hostcerts.ParseKey(filepath.Base(file))
		if err == nil {
			var found anchor
			if found, err = readAnchor(file, now); err == nil {
				if _, taken := anchors[host]; !taken {
					anchors[host] = found
				}
				continue
			}
			// Trust that was there is kept while its file is damaged.
			if old, ok := t.anchors[host]; ok {
				anchors[host] = old
			}
		}
		klog.V(0).InfoS("certificate authority of a registry is not usable", "file", file, "err", err)
	}
	t.anchors, t.signature = anchors, signature
}

// list returns the files that are named after hosts, and a text that changes with them. Projected
// volumes keep their files behind links whose names begin with "..": these are no keys.
func (t *trust) list() (files []string, signature string) {
	var seen strings.Builder
	for _, dir := range t.dirs {
		// The entries of a directory that is not there, or not readable, are none.
		found, err := os.ReadDir(dir)
		if err != nil && !os.IsNotExist(err) {
			fmt.Fprintf(&seen, "%s: %v\n", dir, err)
		}
		for _, entry := range found {
			name := entry.Name()
			if strings.HasPrefix(name, "..") || hostcerts.Ignored(name) {
				continue
			}
			info, err := os.Stat(filepath.Join(dir, name))
			if err != nil || !info.Mode().IsRegular() {
				continue
			}
			files = append(files, filepath.Join(dir, name))
			fmt.Fprintf(&seen, "%s %d %d\n", files[len(files)-1], info.Size(), info.ModTime().UnixNano())
		}
	}
	return files, seen.String()
}

func readAnchor(file string, now time.Time) (anchor, error) {
	info, err := os.Stat(file)
	if err != nil {
		return anchor{}, err
	}
	if info.Size() > hostcerts.MaxBundleBytes {
		return anchor{}, fmt.Errorf("%d bytes, at most %d are allowed", info.Size(), hostcerts.MaxBundleBytes)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return anchor{}, err
	}
	bundle, err := hostcerts.Normalise(data, now)
	if err != nil {
		return anchor{}, err
	}
	sum := sha256.Sum256(bundle.PEM)
	return anchor{id: hex.EncodeToString(sum[:]), certificate: bundle.Certificates}, nil
}

package hostfiles

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"image.alauda.io/registry/pkg/nodeca/fsroot"
)

func certificate(serial int64) []byte {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// etc is a temporary tree that stands for the node's /etc.
type etc struct {
	t    *testing.T
	dir  string
	tree *fsroot.Root
}

func newEtc(t *testing.T, files map[string]string, fault func(op, path string) error) *etc {
	t.Helper()
	e := &etc{t: t, dir: t.TempDir()}
	for name, text := range files {
		e.put(name, text)
	}
	tree, err := fsroot.Open(e.dir, fsroot.Options{Fault: fault})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tree.Close() })
	e.tree = tree
	return e
}

func (e *etc) put(name, text string) {
	e.t.Helper()
	file := filepath.Join(e.dir, name)
	dir := filepath.Dir(file)
	if strings.HasSuffix(name, "/") {
		dir = file
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		e.t.Fatal(err)
	}
	if dir != file && !strings.HasSuffix(name, "/") {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			e.t.Fatal(err)
		}
	}
}

// snapshot describes every entry with type, mode, time and content.
func (e *etc) snapshot(times bool) map[string]string {
	e.t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(e.dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		text := info.Mode().String()
		if times {
			text += info.ModTime().String()
		}
		if info.Mode().IsRegular() {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text += " " + string(data)
		}
		rel, _ := filepath.Rel(e.dir, path)
		all[rel] = text
		return nil
	})
	if err != nil {
		e.t.Fatal(err)
	}
	return all
}

func (e *etc) list(dir string) string {
	entries, err := os.ReadDir(filepath.Join(e.dir, dir))
	if err != nil {
		return "-"
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return strings.Join(names, " ")
}

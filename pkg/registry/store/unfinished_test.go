package store

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
)

// What a killed process was writing goes when it is old; what is young, and markers
// themselves, stay.
func TestUnfinishedWritesAmongTheMarkersGo(t *testing.T) {
	directory := t.TempDir()
	below := filepath.Join(directory, markers, touchedMarker, "sha256")
	if err := os.MkdirAll(below, 0o700); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-time.Hour)
	for name, at := range map[string]time.Time{"old.1.tmp": old, "young.2.tmp": time.Now(), "marker": old} {
		path := filepath.Join(below, name)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	s := &Store{driver: filesystem.New(filesystem.DriverParameters{RootDirectory: directory, MaxThreads: 25}), options: Options{Now: time.Now}}
	if err := s.TidyUnfinished(t.Context(), time.Minute); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"old.1.tmp": false, "young.2.tmp": true, "marker": true} {
		if _, err := os.Stat(filepath.Join(below, name)); (err == nil) != want {
			t.Errorf("%s is there: %v, want %v", name, err == nil, want)
		}
	}
}

package serverconfig

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

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

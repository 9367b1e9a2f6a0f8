package server

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"k8s.io/client-go/rest"
)

func TestOwnTokenFollowsItsFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	token := ownToken(&rest.Config{BearerToken: "of the start", BearerTokenFile: file})
	for _, want := range []string{"first", "second"} {
		if err := os.WriteFile(file, []byte(want+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := token(); err != nil || got != want {
			t.Errorf("token is %q (%v), want %q", got, err, want)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if _, err := token(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without its file the error is %v", err)
	}
	if _, err := ownToken(&rest.Config{})(); !errors.Is(err, errNoToken) {
		t.Errorf("without any token the error is %v", err)
	}
}

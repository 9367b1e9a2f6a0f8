package store

import (
	"errors"
	"strings"
	"syscall"
	"testing"
)

// While the last of a full storage belongs to removals no upload takes it, and afterwards they
// go on as before.
func TestUploadsWaitWhileRoomIsMade(t *testing.T) {
	f := newFixture(t)
	if err := f.KeepReserve(t.Context()); err != nil {
		t.Fatal(err)
	}
	session, err := f.NewUpload(t.Context(), app)
	if err != nil {
		t.Fatal(err)
	}
	if err := session.Close(); err != nil {
		t.Fatal(err)
	}
	f.MakeRoom(t.Context())() // there is enough
	if !f.exists(t, reserveMarker) {
		t.Error("the reserve went without need")
	}
	f.hook(func(operation, path string) error {
		if operation == "put" && strings.HasPrefix(path, roomMarker) {
			return syscall.ENOSPC
		}
		return nil
	})
	end := f.MakeRoom(t.Context())
	if f.exists(t, reserveMarker) {
		t.Error("the reserve stays on a full storage")
	}
	var full *Error
	if _, err := f.NewUpload(t.Context(), app); !errors.As(err, &full) || !full.Full() {
		t.Errorf("a new upload: %v", err)
	}
	if _, _, err := f.ResumeUpload(t.Context(), app, session.ID); !errors.As(err, &full) || !full.Full() {
		t.Errorf("an upload that goes on: %v", err)
	}
	end()
	f.upload(t, app, "a layer")
	if err := f.KeepReserve(t.Context()); err != nil || !f.exists(t, reserveMarker) {
		t.Errorf("the reserve is not set aside again: %v", err)
	}
}

// On storages without a disk of their own there is nothing to set aside, and a registry that
// only reads writes nothing.
func TestNoReserveWhereItIsOfNoUse(t *testing.T) {
	f := newFixture(t)
	f.options.ReadOnly = true
	if err := f.KeepReserve(t.Context()); err != nil || f.exists(t, reserveMarker) {
		t.Errorf("%v", err)
	}
	f.MakeRoom(t.Context())()
}

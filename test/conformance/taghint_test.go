package conformance

import (
	"os"
	"path/filepath"
	"testing"

	"image.alauda.io/registry/pkg/registry/route"
)

// A process that dies between both steps of deleting a tag leaves the note about it in the
// storage, from which a recovery would bring the tag back. The client tries again, and the
// tag is not there any more.
func TestRepeatedDeleteOfATagForgetsItsNote(t *testing.T) {
	s := newSite(t)
	s.pushImage("team/app", "v1", "text")
	note := filepath.Join(s.directory, "docker/registry/v2/repositories/team/app/_manifests/tags/v1/current/link")
	if _, err := os.Stat(note); err != nil {
		t.Fatalf("before: %v", err)
	}
	if err := s.api.DeleteTag(t.Context(), route.Name{Namespace: "team", Stream: "app"}, "v1"); err != nil {
		t.Fatal(err)
	}
	s.remove("/v2/team/app/manifests/v1").want(404, "MANIFEST_UNKNOWN")
	if _, err := os.Stat(note); !os.IsNotExist(err) {
		t.Errorf("the note is still there: %v", err)
	}
}

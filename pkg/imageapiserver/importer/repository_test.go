package importer

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/oci/remote"
)

func tagsOf(r *RepositoryResult) []string {
	var names []string
	for _, tag := range r.Tags {
		names = append(names, tag.Tag)
	}
	return names
}

// Behaviour 36.
func TestTheMostImportantTagsOfARepositoryAreImported(t *testing.T) {
	s := newScripted()
	for _, tag := range []string{"z", "1.0.0", "latest", "2.0", "v2.0", "a", "1.0.1"} {
		s.image(app, tag, "amd64", tag)
	}
	result := engine(t, s).Import(t.Context(), Request{
		Items:      []Item{{From: app + ":z"}},
		Repository: &RepositoryItem{From: app, Limit: 3},
	})
	// z is beyond the limit, but was looked up for an item anyway.
	if diff := cmp.Diff([]string{"latest", "2.0", "v2.0", "z"}, tagsOf(result.Repository)); diff != "" {
		t.Errorf("tags (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"1.0.1", "1.0.0", "a"}, result.Repository.AdditionalTags); diff != "" {
		t.Errorf("additional tags (-want +got):\n%s", diff)
	}
	for _, r := range result.Repository.Tags {
		imported(t, r)
	}
	if result.Repository.Err != nil || result.Repository.Summary() != nil {
		t.Errorf("error %v, summary %v", result.Repository.Err, result.Repository.Summary())
	}
	if result.Items[0].Image == result.Repository.Tags[3].Image {
		t.Error("item and repository share an object")
	}
	n := 0
	for _, asked := range s.asked {
		if asked == "GET "+app+" z" {
			n++
		}
	}
	if n != 1 {
		t.Errorf("the tag of both was fetched %d times", n)
	}
}

// Behaviour 36.
func TestSomeTagsOfARepositoryMayFail(t *testing.T) {
	s := newScripted()
	for _, tag := range []string{"a", "b", "c"} {
		s.image(app, tag, "amd64", tag)
	}
	s.errors["GET "+app+" b"] = &remote.Error{Kind: remote.Forbidden, Message: "denied"}
	i := engine(t, s)
	r := i.Import(t.Context(), Request{Repository: &RepositoryItem{From: app}}).Repository
	imported(t, r.Tags[0])
	failed(t, r.Tags[1], "Forbidden", "denied")
	imported(t, r.Tags[2])
	if summary := r.Summary(); r.Err != nil || summary.Reason != ReasonImportFailed || !strings.Contains(summary.Message, "one of the images") {
		t.Errorf("error %v, summary %v", r.Err, summary)
	}
	s.errors["GET "+app+" a"] = s.errors["GET "+app+" b"]
	r = i.Import(t.Context(), Request{Repository: &RepositoryItem{From: app}}).Repository
	if summary := r.Summary(); !strings.Contains(summary.Message, "2 of the images") {
		t.Errorf("summary %v", summary)
	}
}

// Behaviour 36.
func TestARepositoryThatCannotBeListedSaysWhy(t *testing.T) {
	for kind, want := range map[remote.Kind]string{remote.NotFound: "NotFound", remote.Unauthorized: "Unauthorized"} {
		s := newScripted()
		s.errors["TAGS "+app+" "] = &remote.Error{Kind: kind, Message: "listing"}
		r := engine(t, s).Import(t.Context(), Request{Repository: &RepositoryItem{From: app}}).Repository
		if r.Err == nil || string(r.Err.Reason) != want || r.Summary() != r.Err || len(r.Tags) != 0 {
			t.Errorf("%s: %+v", kind, r)
		}
	}
	for from, text := range map[string]string{app + ":v1": "names an image", "Bad": "not the name", "localhost:5000": "no repository"} {
		r := engine(t, newScripted()).Import(t.Context(), Request{Repository: &RepositoryItem{From: from}}).Repository
		if r.Err == nil || r.Err.Code != 422 || !strings.Contains(r.Err.Message, text) {
			t.Errorf("%s: %v, want %q", from, r.Err, text)
		}
	}
}

func TestARepositoryMayNameTagsAsItLikes(t *testing.T) {
	s := newScripted()
	s.image(app, "ok", "amd64", "ok")
	s.tags[app] = append(s.tags[app], "../../evil", "a b", "x@sha256:0", strings.Repeat("l", 129), "a/b:c")
	r := engine(t, s).Import(t.Context(), Request{Repository: &RepositoryItem{From: app}}).Repository
	if diff := cmp.Diff([]string{"ok"}, tagsOf(r)); diff != "" || len(r.AdditionalTags) != 0 {
		t.Errorf("additional %q, tags (-want +got):\n%s", r.AdditionalTags, diff)
	}
}

func TestALongListOfTagsIsBounded(t *testing.T) {
	s := newScripted()
	for at := range 12000 {
		s.tags[app] = append(s.tags[app], fmt.Sprintf("t%05d", at))
	}
	r := engine(t, s).Import(t.Context(), Request{Repository: &RepositoryItem{From: app, Limit: -1}}).Repository
	if len(r.Tags) != MaxTagsPerRepository || len(r.AdditionalTags) != MaxTagNames-MaxTagsPerRepository {
		t.Errorf("%d tags, %d additional", len(r.Tags), len(r.AdditionalTags))
	}
}

func TestTagsOfARepositoryHaveTheirOwnPreferencesAndDigests(t *testing.T) {
	s := newScripted()
	amd, arm := s.image(app, "", "amd64", "a"), s.image(app, "", "arm64", "b")
	s.index(app, "x", amd, arm)
	s.index(app, "y", amd, arm)
	same := s.image(app, "z", "amd64", "z")
	r := engine(t, s).Import(t.Context(), Request{Repository: &RepositoryItem{
		From: app, Policy: Policy{ImportMode: imageapi.ImportModeLegacy},
		Platforms:   map[string]Platform{"y": {Arch: "arm64"}},
		LastDigests: map[string]string{"z": same.Digest.String()},
	}}).Repository
	if imported(t, r.Tags[0]).Image.Name != amd.Digest.String() || imported(t, r.Tags[1]).Image.Name != arm.Digest.String() || !r.Tags[2].Unchanged {
		t.Errorf("tags %+v", r.Tags)
	}
}

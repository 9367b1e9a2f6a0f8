package references

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

func wantAll(t *testing.T, index *Index, want ...string) {
	t.Helper()
	got := protectedBy(index)
	for _, w := range want {
		if !slices.Contains(got, w) {
			t.Errorf("protects %q, want %q among them", got, w)
		}
	}
}

// Behaviour 22.
func TestImagesNamedInParts(t *testing.T) {
	for _, test := range []struct{ name, object, want string }{
		{"a digest without its algorithm", `{"image":{"repository":"quay.io/team/app","tag":"v1","sha":"` + dig[7:] + `"}}`, "team/app@" + dig[:9]},
		{"a digest under a longer name", `{"imageRepository":"team/app","imageDigest":"` + dig + `"}`, "team/app@" + dig[:9]},
		{"a base image and its tag", `{"spec":{"baseImage":"quay.io/team/app","tag":"v2"}}`, "team/app:v2"},
		{"names that begin alike", `{"spec":{"imageRepository":"team/app","imageTag":"v2"}}`, "team/app:v2"},
		{"an override by name", `{"images":[{"name":"quay.io/team/app","newTag":"v2"}]}`, "team/app:v2"},
		{"a tag that is none", `{"repository":"quay.io/team/app","tag":"!!"}`, "all of team/app"},
	} {
		t.Run(test.name, func(t *testing.T) { wantAll(t, scanned(t, test.object), test.want) })
	}
}

// Behaviour 22. Where only known hosts count, a repository without one may still be completed by a registry
// that stands in another place.
func TestRegistryInAnotherPlace(t *testing.T) {
	index := NewIndex(streams{{"team", "app"}: false})
	index.LimitTo(NewHosts("image-registry.image-registry-system", "5000"))
	index.AddCustom(Custom{Kind: "Widget", Object: map[string]any{
		"global": map[string]any{"imageRegistry": ours},
		"image":  map[string]any{"repository": "team/app", "tag": "v2"},
	}})
	wantAll(t, index, "all of team/app")
	index = NewIndex(streams{{"team", "app"}: false})
	index.LimitTo(NewHosts("image-registry.image-registry-system", "5000"))
	index.AddCustom(Custom{Kind: "Widget", Object: map[string]any{
		"image": map[string]any{"registry": "quay.io", "repository": "team/app", "tag": "v2"},
	}})
	if got := protectedBy(index); len(got) != 0 {
		t.Errorf("another registry protects %q", got)
	}
}

// An object of thousands of fields must not be multiplied with itself.
func TestPartsOfAHostileObject(t *testing.T) {
	object := map[string]any{}
	for i := range 3000 {
		object[fmt.Sprintf("a%dImage", i)], object[fmt.Sprintf("a%dTag", i)] = "team/app", fmt.Sprint("v", i)
	}
	index := NewIndex(streams{{"team", "app"}: false})
	index.AddCustom(Custom{Kind: "Widget", Object: object})
	wantAll(t, index, "all of team/app")
	if index.Count() > 10000 {
		t.Errorf("%d references", index.Count())
	}
}

// Behaviour 22.
func TestPathsToListsAndMaps(t *testing.T) {
	const object = `{"spec":{"images":["team/app:v1"],"byName":{"x":"team/base:v2"}}}`
	wantAll(t, scanned(t, object, "{.spec.images}"), "team/app:v1")
	wantAll(t, scanned(t, object, "{.spec.byName}"), "team/base:v2")
}

// A revision of a virtual machine has a template too, which is none of Pods.
func TestRevisionWithATemplateOfSomethingElse(t *testing.T) {
	raw, err := json.Marshal(map[string]any{"spec": map[string]any{"template": map[string]any{"spec": map[string]any{
		"domain":  map[string]any{},
		"volumes": []any{map[string]any{"name": "root", "containerDisk": map[string]any{"image": "quay.io/team/app:v1"}}},
	}}}})
	if err != nil {
		t.Fatal(err)
	}
	index := NewIndex(streams{{"team", "app"}: false})
	if err := index.AddObject(&appsv1.ControllerRevision{ObjectMeta: metav1.ObjectMeta{Namespace: "x", Name: "r"}, Data: runtime.RawExtension{Raw: raw}}, Ages{}); err != nil {
		t.Fatal(err)
	}
	wantAll(t, index, "team/app:v1")
}

// Triggers may name images as specs of streams do.
func TestTriggersOfOtherKinds(t *testing.T) {
	for _, from := range []string{
		`{"kind":"ImageStreamImage","namespace":"team","name":"app@` + dig + `"}`,
		`{"kind":"DockerImage","name":"quay.io/team/app@` + dig + `"}`,
	} {
		text := strings.ReplaceAll(`[{"from":`+from+`}]`, `"`, `\"`)
		wantAll(t, scanned(t, `{"metadata":{"namespace":"team","name":"w","annotations":{"image.alauda.io/triggers":"`+text+`"}}}`, "{.spec.image}"), "team/app@"+dig[:9])
	}
}

// Behaviour 22.
func TestRegistryWithAScheme(t *testing.T) {
	index := NewIndex(streams{{"team", "app"}: false})
	index.LimitTo(NewHosts("image-registry.image-registry-system", "5000"))
	index.AddCustom(Custom{Kind: "Widget", Object: map[string]any{"registry": "oci://" + ours + "/", "repository": "team/app", "tag": "v2"}})
	wantAll(t, index, "team/app:v2")
}

package references

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

const ours = "image-registry.image-registry-system.svc:5000"

// scanned is an index over team/app, team/base and local/short with one custom object in namespace local.
func scanned(t testing.TB, text string, paths ...string) *Index {
	t.Helper()
	var object map[string]any
	if err := json.Unmarshal([]byte(text), &object); err != nil {
		t.Fatal(err)
	}
	if object["metadata"] == nil {
		object["metadata"] = map[string]any{"namespace": "local", "name": "w"}
	}
	index := NewIndex(streams{{"team", "app"}: false, {"team", "base"}: false, {"local", "short"}: true})
	index.NameRegistry(NewHosts("image-registry.image-registry-system", "5000"))
	index.RememberOrigins()
	var parsed []*Path
	for _, path := range paths {
		p, err := ParsePath(path)
		if err != nil {
			t.Fatal(err)
		}
		parsed = append(parsed, p)
	}
	index.AddCustom(Custom{Kind: "Widget", Object: object, Paths: parsed})
	return index
}

// protectedBy lists what an index protects, in words.
func protectedBy(x *Index) []string {
	var all []string
	for tag := range x.tags {
		all = append(all, tag.Stream.String()+":"+tag.tag)
	}
	for digest := range x.digests {
		all = append(all, digest.Stream.String()+"@"+digest.digest[:9])
	}
	for digest := range x.anywhere {
		all = append(all, digest[:9])
	}
	for stream := range x.protected {
		all = append(all, "all of "+stream.String())
	}
	slices.Sort(all)
	return all
}

// Behaviour 22.
func TestDeepScan(t *testing.T) {
	tests := []struct {
		name, object string
		want         []string
	}{
		{"a whole string", `{"spec":{"a":{"b":["quay.io/team/app:v1"]}}}`, []string{"team/app:v1"}},
		{"a digest", `{"spec":{"a":"quay.io/team/app@` + dig + `"}}`, []string{dig[:9], "team/app@" + dig[:9]}},
		{"a digest of a stream that does not exist", `{"spec":{"a":"quay.io/x/y@` + dig + `"}}`, []string{dig[:9], "x/y@" + dig[:9]}},
		{"a bare digest", `{"status":{"digest":"` + dig + `"}}`, []string{dig[:9]}},
		{"with a transport", `{"spec":{"url":"docker://quay.io/team/app:v1"}}`, []string{"team/app:v1"}},
		{"without a host outside of an image field", `{"spec":{"a":"team/app:v1"}}`, nil},
		{"without a host in an image field", `{"spec":{"image":"team/app:v1"}}`, []string{"team/app:v1"}},
		{"in a field that ends with image", `{"spec":{"baseImage":"team/app:v1"}}`, []string{"team/app:v1"}},
		{"a local name", `{"spec":{"image":"short:v1"}}`, []string{"local/short:v1"}},
		{"a local name without consent", `{"spec":{"image":"app:v1"},"metadata":{"namespace":"team","name":"w"}}`, nil},
		{"a local name with the annotation", `{"spec":{"image":"app:v1"},"metadata":{"namespace":"team","name":"w","annotations":{"alpha.image.policy.alauda.io/resolve-names":"*"}}}`, []string{"team/app:v1"}},
		{"the annotation on a template", `{"spec":{"template":{"metadata":{"annotations":{"alpha.image.policy.alauda.io/resolve-names":"*"}},"spec":{"image":"app:v1"}},"image":"app:v2"},"metadata":{"namespace":"team","name":"w"}}`, []string{"team/app:v1"}},
		{"a name of an image", `{"spec":{"imageName":"team/app:v1"}}`, []string{"team/app:v1"}},
		{"images in a list", `{"spec":{"images":["team/app:v1","team/base:v2"]}}`, []string{"team/app:v1", "team/base:v2"}},
		{"images in a map", `{"spec":{"extraImages":{"web":"team/app:v1"}}}`, []string{"team/app:v1"}},
		{"a digest behind a proxy", `{"spec":{"a":"proxy.example.test/mirror/team/app@` + dig + `"}}`, []string{dig[:9]}},
		{"a volume", `{"spec":{"volumes":[{"image":{"reference":"team/app:v1"}}]}}`, []string{"team/app:v1"}},
		{"another stream", `{"spec":{"a":"quay.io/team/none:v1"}}`, nil},
		{"within a text", `{"spec":{"script":"run --image=` + ours + `/team/app:v1 --now"}}`, []string{"team/app:v1"}},
		{"within JSON", `{"spec":{"raw":"{\"image\":\"` + ours + `/team/app:v1\"}"}}`, []string{"team/app:v1"}},
		{"behind a scheme", `{"spec":{"raw":"oci://` + ours + `/team/app:v1,"}}`, []string{"team/app:v1"}},
		{"behind a colon", `{"spec":{"raw":"image:` + ours + `/team/app:v1"}}`, []string{"team/app:v1"}},
		{"two in a text", `{"spec":{"raw":"` + ours + `/team/app:v1;` + ours + `/team/base:v2"}}`, []string{"team/app:v1", "team/base:v2"}},
		{"a foreign host within a text", `{"spec":{"script":"run quay.io/team/app:v1 now"}}`, nil},
		{"a placeholder", `{"spec":{"image":"` + ours + `/team/app:{{tag}}"}}`, []string{"all of team/app"}},
		{"a placeholder within a text", `{"spec":{"script":"run ` + ours + `/team/app:$(params.tag) now"}}`, []string{"all of team/app"}},
		{"a deeper path within a text", `{"spec":{"script":"run ` + ours + `/team/app/more now"}}`, []string{"all of team/app"}},
		{"repository and tag apart", `{"spec":{"image":{"repository":"quay.io/team/app","tag":"v2"}}}`, []string{"team/app:latest", "team/app:v2"}},
		{"repository, registry and a tag that is a number", `{"spec":{"image":{"registry":"quay.io","repository":"team/app","tag":2}}}`, []string{"team/app:2"}},
		{"image and version", `{"spec":{"image":"quay.io/team/app","version":"v2"}}`, []string{"team/app:latest", "team/app:v2"}},
		{"a repository whose tag is elsewhere", `{"spec":{"repository":"quay.io/team/app"}}`, []string{"all of team/app", "team/app:latest"}},
		{"a trigger", `{"metadata":{"namespace":"team","name":"w","annotations":{"image.alauda.io/triggers":"[{\"from\":{\"kind\":\"ImageStreamTag\",\"name\":\"app:v1\"}}]"}}}`, []string{"team/app:v1"}},
		{"names of fields are none", `{"metadata":{"managedFields":[{"a":"quay.io/team/app:v1"}]}}`, nil},
		{"nonsense", `{"spec":{"image":"a b","b":"quay.io/team/APP:v1","c":17,"d":null,"e":[[[true]]]}}`, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			index := scanned(t, test.object)
			if got := protectedBy(index); !slices.Equal(got, test.want) {
				t.Errorf("protects %q, want %q", got, test.want)
			}
			if invalid := index.Invalid(); len(invalid) != 0 {
				t.Errorf("a custom object has invalid references: %v", invalid)
			}
		})
	}
}

// Behaviour 22.
func TestPaths(t *testing.T) {
	const object = `{"spec":{"image":"team/app:v1","sidecars":[{"image":"team/base:v1"},{"image":"team/base:v2"},{"name":"none"}],"other":"quay.io/team/app:v9"}}`
	for _, test := range []struct {
		paths []string
		want  []string
	}{
		{[]string{"{.spec.image}"}, []string{"team/app:v1"}},
		{[]string{"{.spec.sidecars[*].image}"}, []string{"team/base:v1", "team/base:v2"}},
		{[]string{"{.spec.missing}", "{.spec.other}"}, []string{"team/app:v9"}},
		{[]string{"{.spec.sidecars}"}, []string{"team/base:v1", "team/base:v2"}},
		{[]string{`{.spec.sidecars[?(@.image=="team/base:v2")].image}`}, []string{"team/base:v2"}},
		// What cannot be evaluated is no reason to overlook something.
		{[]string{"{.spec.image[0]}"}, []string{"team/app:v1", "team/app:v9", "team/base:v1", "team/base:v2"}},
	} {
		if got := protectedBy(scanned(t, object, test.paths...)); !slices.Equal(got, test.want) {
			t.Errorf("%v protects %q, want %q", test.paths, got, test.want)
		}
	}
}

func TestOriginsOfCustomObjectsNameTheField(t *testing.T) {
	index := scanned(t, `{"spec":{"parts":[{"a":"b"},{"picture":"quay.io/team/app:v1"}]}}`)
	want := []Origin{{Source: Source{"Widget", "local", "w"}, Path: "spec.parts[1].picture", Value: "quay.io/team/app:v1"}}
	if got := index.TagOrigins(Stream{"team", "app"}, "v1"); !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// Controllers keep their own data in revisions, which is not always a Pod template.
func TestRevisionsOfAnyController(t *testing.T) {
	for data, want := range map[string][]string{
		`{"spec":{"template":{"spec":{"containers":[{"image":"team/app:v1"}]}}}}`:                             {"team/app:v1"},
		`{"spec":{"leaderTemplate":{"spec":{"containers":[{"image":"team/app:v1"}]}}}}`:                       {"team/app:v1"},
		`{"spec":{"template":"text"},"image":"team/app:v2"}`:                                                  {"team/app:v2"},
		`{"spec":{"template":{"spec":{"containers":{"main":{"image":"team/app:v3"}}}},"x":"quay.io/a/b:v1"}}`: {"team/app:v3"},
		`[]`: nil,
		``:   nil,
	} {
		index := NewIndex(streams{{"team", "app"}: false})
		revision := &appsv1.ControllerRevision{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "r"}, Data: runtime.RawExtension{Raw: []byte(data)}}
		if err := index.AddObject(revision, Ages{}); err != nil {
			t.Errorf("%s: %v", data, err)
		}
		if got := protectedBy(index); !slices.Equal(got, want) {
			t.Errorf("%s protects %q, want %q", data, got, want)
		}
	}
}

// What appears while a run goes on can no longer stop it, so it protects what it may have meant.
func TestInvalidReferencesProtectAtOnceAfterTheDecision(t *testing.T) {
	index := NewIndex(streams{{"team", "app"}: false})
	index.IgnoreInvalid()
	if err := index.AddObject(podOf("late", "", "host/team/app:a b"), Ages{Cutoff: now}); err != nil {
		t.Fatal(err)
	}
	if _, protected := index.Protector(Stream{"team", "app"}); !protected || len(index.Invalid()) != 0 {
		t.Errorf("protected %v, invalid %v", protected, index.Invalid())
	}
}

func FuzzDeepScan(f *testing.F) {
	f.Add(`{"spec":{"image":"` + ours + `/team/app:v1","script":"` + ours + `/team/app:$(x"}}`)
	f.Add(`{"metadata":{"namespace":1,"annotations":{"image.alauda.io/triggers":"["}},"spec":{"repository":"a/b","tag":1.5}}`)
	f.Add(`{"a":"` + ours + `/","b":":` + ours + `/@/:","c":"[::1]:5000/team/app"}`)
	f.Fuzz(func(t *testing.T, text string) {
		var object map[string]any
		if json.Unmarshal([]byte(text), &object) != nil || object == nil {
			return
		}
		index := scanned(t, text)
		if len(index.Invalid()) != 0 {
			t.Errorf("invalid: %v", index.Invalid())
		}
		for tag := range index.tags {
			if strings.ContainsAny(tag.tag, " /\n") {
				t.Errorf("tag %q", tag.tag)
			}
		}
	})
}

func FuzzPath(f *testing.F) {
	for _, text := range []string{"{.spec.image}", "{..image}", "{.a[?(@.b>1)]}", "{.a[-1:]}", "{.a['b','c']}", "{[0:1:0]}", "{.a[?(@.b==@.c)]}"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		path, err := ParsePath(text)
		if err != nil {
			return
		}
		_, _ = path.find(map[string]any{"a": []any{map[string]any{"b": int64(1), "c": "x"}, "y", nil}, "spec": map[string]any{"image": "z"}})
	})
}

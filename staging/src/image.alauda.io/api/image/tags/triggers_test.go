package tags

import (
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestParseFieldPath(t *testing.T) {
	for text, want := range map[string]FieldPath{
		`spec.template.spec.containers[?(@.name=="web")].image`:                      {PodSpec: podSpecOfTemplate, Name: "web"},
		`spec.template.spec.initContainers[12].image`:                                {PodSpec: podSpecOfTemplate, Init: true, Index: 12},
		`spec.jobTemplate.spec.template.spec.containers[0].image`:                    {PodSpec: podSpecOfJobTemplate},
		`spec.jobTemplate.spec.template.spec.initContainers[?(@.name=="a-1")].image`: {PodSpec: podSpecOfJobTemplate, Init: true, Name: "a-1"},
	} {
		got, err := ParseFieldPath(text)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v, want %+v", text, got, err, want)
		}
		if got.String() != text {
			t.Errorf("%s is written as %s", text, got)
		}
	}
	for _, text := range []string{
		"", "spec", "spec.template.spec", "spec.template.spec.", "spec.template.spec.containers", "spec.template.spec.containers[0]",
		"spec.template.spec.containers[0].command", "spec.template.spec.containers[].image", "spec.template.spec.containers[-1].image",
		"spec.template.spec.containers[01].image", "spec.template.spec.containers[+1].image", "spec.template.spec.containers[99999].image",
		"spec.template.spec.containers[*].image", "spec.template.spec.ephemeralContainers[0].image", "spec.containers[0].image",
		`spec.template.spec.containers[?(@.name=="")].image`, `spec.template.spec.containers[?(@.name=='a')].image`,
		`spec.template.spec.containers[?(@.name=="a"||@.name=="b")].image`, `spec.template.spec.containers[?(@.name=="a")`,
		`spec.template.spec.containers[?(@.image=="a")].image`, `spec.template.spec.containers[0].image.image`, " spec.template.spec.containers[0].image",
	} {
		if got, err := ParseFieldPath(text); err == nil {
			t.Errorf("%q was read as %+v", text, got)
		}
	}
}

func FuzzParseFieldPath(f *testing.F) {
	f.Add(`spec.template.spec.containers[?(@.name=="web")].image`)
	f.Add("spec.jobTemplate.spec.template.spec.initContainers[3].image")
	f.Add("spec.template.spec.containers[[0]].image")
	f.Fuzz(func(t *testing.T, text string) {
		path, err := ParseFieldPath(text)
		if err != nil {
			return
		}
		if path.String() != text {
			t.Errorf("%q is written as %q", text, path)
		}
		if strings.ContainsAny(path.pointer(path.Index), "~.\"[]") {
			t.Errorf("%q becomes the pointer %q", text, path.pointer(path.Index))
		}
	})
}

func FuzzParseTriggers(f *testing.F) {
	f.Add(`[{"from":{"kind":"ImageStreamTag","name":"app:latest"},"fieldPath":"spec.template.spec.containers[0].image","paused":"true"}]`)
	f.Add(`[{"paused":[1]}]`)
	f.Fuzz(func(t *testing.T, text string) {
		triggers, err := ParseTriggers(text)
		if err != nil {
			return
		}
		spec := &corev1.PodSpec{Containers: []corev1.Container{{Name: "a"}, {Name: "b"}}}
		fields, _ := PlanTriggers("Deployment", "ns", spec, triggers)
		for _, field := range fields {
			if field.From.Namespace == "" || field.From.Stream == "" || field.From.Tag == "" {
				t.Errorf("%q follows %+v", text, field.From)
			}
		}
	})
}

// Behaviour image-api 48.
func TestTriggersThatAreRefusedIgnoredOrPlanned(t *testing.T) {
	spec := &corev1.PodSpec{
		InitContainers: []corev1.Container{{Name: "init", Image: "i:1"}},
		Containers:     []corev1.Container{{Name: "web", Image: "w:1"}, {Name: "side", Image: "s:1"}},
	}
	const web, first, init = `spec.template.spec.containers[?(@.name==\"web\")].image`, `spec.template.spec.containers[0].image`, `spec.template.spec.initContainers[0].image`
	entry := func(name, path, more string) string {
		return `{"from":{"kind":"ImageStreamTag","name":"` + name + `"},"fieldPath":"` + path + `"` + more + `}`
	}
	for _, test := range []struct {
		name, annotation string
		fields           []string
		problems         int
		refused          bool
	}{
		{name: "by name", annotation: "[" + entry("app:v1", web, "") + "]", fields: []string{"ns/app:v1 /spec/template/spec/containers/0 w:1"}},
		{name: "by index and init", annotation: "[" + entry("app:v1", first, "") + "," + entry("init:v2", init, `,"paused":false`) + "]",
			fields: []string{"ns/app:v1 /spec/template/spec/containers/0 w:1", "ns/init:v2 /spec/template/spec/initContainers/0 i:1"}},
		{name: "another namespace", annotation: `[{"from":{"kind":"ImageStreamTag","name":"app:v1","namespace":"other"},"fieldPath":"` + first + `"}]`,
			fields: []string{"other/app:v1 /spec/template/spec/containers/0 w:1"}},
		{name: "paused bool", annotation: "[" + entry("app:v1", web, `,"paused":true`) + "]"},
		{name: "paused string", annotation: "[" + entry("app:v1", web, `,"paused":"true"`) + "]"},
		{name: "string that is not true", annotation: "[" + entry("app:v1", web, `,"paused":"no"`) + "]", fields: []string{"ns/app:v1 /spec/template/spec/containers/0 w:1"}},
		{name: "paused is a number", annotation: "[" + entry("app:v1", web, `,"paused":1`) + "]", refused: true},
		{name: "unknown kind", annotation: `[{"from":{"kind":"Other","name":"x"},"fieldPath":"nonsense"}]`},
		{name: "apiVersion", annotation: `[{"from":{"kind":"ImageStreamTag","apiVersion":"v1","name":"x"},"fieldPath":"nonsense"}]`},
		{name: "no tag", annotation: "[" + entry("app", web, "") + "]", problems: 1},
		{name: "bad path beside a good one", annotation: "[" + entry("app:v1", "spec.x", "") + "," + entry("app:v1", web, "") + "]", problems: 1,
			fields: []string{"ns/app:v1 /spec/template/spec/containers/0 w:1"}},
		{name: "path of another kind", annotation: "[" + entry("app:v1", "spec.jobTemplate.spec.template.spec.containers[0].image", "") + "]", problems: 1},
		{name: "no such container", annotation: "[" + entry("app:v1", "spec.template.spec.containers[2].image", "") + "]", problems: 1},
		{name: "duplicate path", annotation: "[" + entry("app:v1", web, "") + "," + entry("app:v2", web, "") + "]", refused: true},
		{name: "duplicate container", annotation: "[" + entry("app:v1", web, "") + "," + entry("app:v2", first, "") + "]", problems: 1},
		{name: "no JSON", annotation: "[{", refused: true},
		{name: "no list", annotation: "{}", refused: true},
		{name: "empty"},
	} {
		t.Run(test.name, func(t *testing.T) {
			triggers, err := ParseTriggers(test.annotation)
			if (err != nil) != test.refused {
				t.Fatalf("refused: %v, want %v", err, test.refused)
			}
			fields, problems := PlanTriggers("Deployment", "ns", spec, triggers)
			var got []string
			for _, field := range fields {
				got = append(got, field.From.String()+" "+field.Pointer()+" "+field.Image)
			}
			if strings.Join(got, ";") != strings.Join(test.fields, ";") || len(problems) != test.problems {
				t.Errorf("fields %q, problems %v, want %q and %d problems", got, problems, test.fields, test.problems)
			}
		})
	}
}

// Each entry may cost a question about rights and a place in the index, and anybody may write the annotation.
func TestTheNumberOfTriggersIsBounded(t *testing.T) {
	annotation := func(n int) string {
		entries := make([]string, n)
		for i := range entries {
			entries[i] = `{"from":{"kind":"ImageStreamTag","name":"app:v1"},"fieldPath":"` + strconv.Itoa(i) + `"}`
		}
		return "[" + strings.Join(entries, ",") + "]"
	}
	if triggers, err := ParseTriggers(annotation(MaxTriggers)); err != nil || len(triggers) != MaxTriggers {
		t.Errorf("%d triggers, %v", len(triggers), err)
	}
	if _, err := ParseTriggers(annotation(MaxTriggers + 1)); err == nil {
		t.Error("one more is accepted")
	}
}

func TestPinnedReplacesATagByADigest(t *testing.T) {
	a, b := "sha256:"+strings.Repeat("a", 64), "sha256:"+strings.Repeat("b", 64)
	for _, test := range []struct{ spec, digest, want string }{
		{"example.com/app:v1", a, "example.com/app@" + a},
		{"example.com:5000/app", a, "example.com:5000/app@" + a},
		{"app", a, "app@" + a},
		{"example.com/app@" + b, a, "example.com/app@" + b},
		{"example.com/app:v1", "", "example.com/app:v1"},
		{"example.com/app:v1", "tag", "example.com/app:v1"},
		{"Not A Reference", a, "Not A Reference"},
	} {
		if got := Pinned(test.spec, test.digest); got != test.want {
			t.Errorf("Pinned(%q, %q) = %q, want %q", test.spec, test.digest, got, test.want)
		}
	}
}

func TestNamesThatAStreamMayStandFor(t *testing.T) {
	for _, test := range []struct{ image, local, last string }{
		{"app", "app latest", "app latest"},
		{"app:v1", "app v1", "app v1"},
		{"my.app:v1", "my.app v1", "my.app v1"},
		{"team/app:v1", "", "app v1"},
		{"example.com:5000/team/app", "", "app latest"},
		{"app@sha256:" + strings.Repeat("a", 64), "", ""},
		{"", "", ""}, {"app:", "", ""}, {":v1", "", ""}, {"App", "", ""}, {"app:v1:v2", "", ""}, {"..", "", ""}, {"team/", "", ""},
	} {
		join := func(stream, tag string, ok bool) string {
			if !ok {
				return ""
			}
			return stream + " " + tag
		}
		if got := join(LocalName(test.image)); got != test.local {
			t.Errorf("LocalName(%q) = %q, want %q", test.image, got, test.local)
		}
		if got := join(LastName(test.image)); got != test.last {
			t.Errorf("LastName(%q) = %q, want %q", test.image, got, test.last)
		}
	}
}

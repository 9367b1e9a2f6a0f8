package references

import (
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Behaviours 13 and 16. What a runtime says that it runs comes in many forms; each of them protects. The stream is
// team/app.
func TestEveryFormOfARunningImageProtects(t *testing.T) {
	hex := strings.TrimPrefix(dig, "sha256:")
	inStream, anywhere := "team/app@"+dig[:9], dig[:9]
	for text, want := range map[string][]string{
		"h.x/team/app@" + dig:                         {anywhere, inStream},
		"h.x/team/app:v1@" + dig:                      {anywhere, inStream},
		"H.X/team/app@" + dig:                         {anywhere, inStream},
		"h.x:5000/team/app@" + dig:                    {anywhere, inStream},
		"[fd12::1]:5000/team/app@" + dig:              {anywhere, inStream},
		"198.18.0.7:5000/team/app@" + dig:             {anywhere, inStream},
		"docker://h.x/team/app@" + dig:                {anywhere, inStream},
		"docker-pullable://h.x/team/app@" + dig:       {anywhere, inStream},
		"docker://" + dig:                             {anywhere},
		dig:                                           {anywhere},
		hex:                                           {anywhere}, // CRI-O
		"proxy.example.test/mirror/team/app@" + dig:   {anywhere}, // a proxy before this registry
		"app@" + dig:                                  {anywhere},
		"library/app@" + dig:                          {"library/app@" + dig[:9], anywhere},
		"h.x/team/app:v1":                             {"team/app:v1"},
		"h.x/team/app":                                {"team/app:latest"},
		"proxy.example.test/mirror/team/app:v1":       nil,
		strings.Repeat("a", 64) + "x/" + hex + "/app": nil,
		"": nil,
	} {
		index := NewIndex(streams{{"team", "app"}: false})
		pod := &corev1.Pod{ObjectMeta: meta("x"), Status: corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{{ImageID: text}}}}
		if err := index.AddObject(pod, ages); err != nil {
			t.Fatal(err)
		}
		if got := protectedBy(index); !slices.Equal(got, want) {
			t.Errorf("%s protects %q, want %q", text, got, want)
		}
		if _, used := index.DigestUser(Stream{"team", "app"}, dig); used != slices.Contains(want, anywhere) && !strings.HasPrefix(text, "library/") {
			t.Errorf("%s: in use in the stream %t", text, used)
		}
	}
}

// Behaviour 11: image volumes run a digest, too, in every sort of container.
func TestEveryStatusOfAPodProtects(t *testing.T) {
	status := func(letter string) corev1.ContainerStatus {
		return corev1.ContainerStatus{ImageID: "sha256:" + strings.Repeat(letter, 64), VolumeMounts: []corev1.VolumeMountStatus{
			{Name: "none"}, {Name: "of something else", VolumeStatus: &corev1.VolumeStatus{}},
			{Name: "models", VolumeStatus: &corev1.VolumeStatus{Image: &corev1.ImageVolumeStatus{ImageRef: "h.x/team/app@sha256:" + strings.Repeat(letter, 63) + "0"}}},
		}}
	}
	index := NewIndex(streams{})
	if err := index.AddObject(&corev1.Pod{ObjectMeta: meta("x"), Status: corev1.PodStatus{
		InitContainerStatuses: []corev1.ContainerStatus{status("a")}, ContainerStatuses: []corev1.ContainerStatus{status("b")},
		EphemeralContainerStatuses: []corev1.ContainerStatus{status("c")},
	}}, ages); err != nil {
		t.Fatal(err)
	}
	for _, letter := range []string{"a", "b", "c"} {
		for _, digest := range []string{"sha256:" + strings.Repeat(letter, 64), "sha256:" + strings.Repeat(letter, 63) + "0"} {
			if _, used := index.AnyDigestUser(digest); !used {
				t.Errorf("%s is not protected", digest)
			}
		}
	}
}

// Operators start other images than their own; they are told of them by arguments and environment.
func TestImagesThatAContainerIsToldOfProtect(t *testing.T) {
	container := corev1.Container{
		Image:   "h.x/other/operator:v1",
		Command: []string{"/operator", "--helper=" + ours + "/team/base:v1"},
		Args:    []string{"quay.io/team/app:v7", "--path=/etc/ssl/certs", "s3://bucket/team/app"},
		Env: []corev1.EnvVar{
			{Name: "RELATED_IMAGE_APP", Value: "team/app@" + dig}, {Name: "APP_IMAGE", Value: "$(HOST)/team/base:$(TAG)"},
			{Name: "HOME", Value: "team/app:v8"}, {Name: "IMAGE", Value: "not an image / at all"}, {Name: "OTHER_IMAGE", Value: "quay.io/a/b:v1"},
		},
	}
	index := NewIndex(streams{{"team", "app"}: false, {"team", "base"}: false})
	index.NameRegistry(NewHosts("image-registry.image-registry-system", "5000"))
	index.RememberOrigins()
	pod := &corev1.Pod{ObjectMeta: meta("x"), Spec: corev1.PodSpec{InitContainers: []corev1.Container{container}}}
	if err := index.AddObject(pod, ages); err != nil {
		t.Fatal(err)
	}
	want := []string{"all of team/base", "other/operator:v1", dig[:9], "team/app:v7", "team/app@" + dig[:9], "team/base:v1"}
	slices.Sort(want)
	if got := protectedBy(index); !slices.Equal(got, want) {
		t.Errorf("protects %q, want %q", got, want)
	}
	if len(index.Invalid()) != 0 {
		t.Errorf("invalid: %v", index.Invalid())
	}
	if at := index.TagOrigins(Stream{"team", "app"}, "v7"); len(at) != 1 || at[0].Path != "spec.initContainers[0].args" {
		t.Errorf("places %+v", at)
	}
}

// Behaviour 17: where only known hosts count, digests from elsewhere do not.
func TestDigestsOfUnknownHosts(t *testing.T) {
	for text, want := range map[string]bool{"proxy.example.test/a/b/c@" + dig: false, "app@" + dig: false, dig: true} {
		index := NewIndex(streams{})
		index.LimitTo(NewHosts("image-registry.image-registry-system", "5000"))
		if err := index.AddObject(podOf("x", "", text), Ages{Cutoff: time.Time{}}); err != nil {
			t.Fatal(err)
		}
		if _, used := index.AnyDigestUser(dig); used != want {
			t.Errorf("%s: used %t", text, used)
		}
	}
}

// An invalid reference is shown to people, who must not obey it, and it may be long.
func TestInvalidReferencesAreHarmless(t *testing.T) {
	for _, text := range []string{"h.x/\x1b[2JTEAM\nfoo/app", strings.Repeat("A", 1<<20), "team/app:" + strings.Repeat("b ", 1<<19)} {
		index := NewIndex(streams{{"team", "app"}: false})
		if err := index.AddObject(podOf("x", "", text), ages); err != nil {
			t.Fatal(err)
		}
		invalid := index.Invalid()
		if len(invalid) != 1 || strings.ContainsAny(invalid[0].Error, "\x1b\n") || len(invalid[0].Error) > 2000 || len(invalid[0].Value) > 2000 {
			t.Fatalf("%d invalid references: %.300q", len(invalid), invalid)
		}
		if _, protected := index.Protector(Stream{"team", "app"}); protected != strings.HasPrefix(text, "team/app") {
			t.Errorf("%.20q: protected %t", text, protected)
		}
	}
}

// Who names namespaces and texts so that everything fits everywhere keeps more than was meant, and costs little.
func TestHostileTextsCostLittle(t *testing.T) {
	known := &counted{streams: streams{{"other", "app"}: false}}
	for i := range maxNamespace {
		known.streams[Stream{strings.Repeat("a", i+1), "none"}] = false
	}
	text := strings.Repeat(strings.Repeat("a", maxNamespace)+"/"+strings.Repeat("b", maxName), 1<<20/(maxNamespace+maxName+1)) + "$(X)"
	index := NewIndex(known)
	index.add(value{source: Source{Kind: "Pod", Namespace: "x", Name: "p"}, text: text})
	if known.asked > 6*len(text) {
		t.Errorf("asked %d times about a text of %d bytes", known.asked, len(text))
	}
	if _, protected := index.Protector(Stream{"aaa", "none"}); !protected {
		t.Error("what was not looked for is not protected")
	}
	if _, protected := index.Protector(Stream{"other", "app"}); protected {
		t.Error("another namespace is protected")
	}
}

package reference

import (
	"errors"
	"strings"
	"testing"
)

const (
	digestA = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	digestB = "sha256:aaaabbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

func TestParseSplitsReferences(t *testing.T) {
	for text, want := range map[string]DockerImageReference{
		"busybox":                         {Name: "busybox"},
		"busybox:1.36":                    {Name: "busybox", Tag: "1.36"},
		"team/app":                        {Namespace: "team", Name: "app"},
		"team/sub/app:v1":                 {Namespace: "team", Name: "sub/app", Tag: "v1"},
		"example.com":                     {Registry: "example.com"},
		"example.com:5000":                {Registry: "example.com:5000"},
		"localhost":                       {Registry: "localhost"},
		"localhost:5000":                  {Registry: "localhost:5000"},
		"localhost/app":                   {Registry: "localhost", Name: "app"},
		"host:5000/app":                   {Registry: "host:5000", Name: "app"},
		"host:5000/team/app:v1":           {Registry: "host:5000", Namespace: "team", Name: "app", Tag: "v1"},
		"example.com/a/b/c@" + digestA:    {Registry: "example.com", Namespace: "a", Name: "b/c", ID: digestA},
		"example.com/a/b:t@" + digestA:    {Registry: "example.com", Namespace: "a", Name: "b", Tag: "t", ID: digestA},
		"[fd00::1]:5000/app":              {Registry: "[fd00::1]:5000", Name: "app"},
		"a__b/c---d":                      {Namespace: "a__b", Name: "c---d"},
		"EXAMPLE.com/app":                 {Registry: "EXAMPLE.com", Name: "app"},
		"app@md5:" + digestA[7:7+32]:      {Name: "app", ID: "md5:" + digestA[7:7+32]},
		strings.Repeat("a", 255) + ":tag": {Name: strings.Repeat("a", 255), Tag: "tag"},
	} {
		got, err := Parse(text)
		if err != nil {
			t.Errorf("Parse(%q): %v", text, err)
			continue
		}
		if got != want {
			t.Errorf("Parse(%q) = %+v, want %+v", text, got, want)
		}
		if got.Exact() != text {
			t.Errorf("Parse(%q).Exact() = %q", text, got.Exact())
		}
	}
}

func TestParseRefusesWhatIsNoReference(t *testing.T) {
	for _, text := range []string{
		"", ":", "@", "app:", "app@", "/app", "app/", "a//b", "App", "TEAM/app", "app:-x", "app:a b",
		"https://example.com/app", "app@sha256:abc", "app@sha256:" + strings.Repeat("a", 65),
		"app@sha256:" + strings.Repeat("A", 64), "app@" + digestA + "@" + digestA,
		"a___b", "-a", "a-", "a..b/c", "host:999999/app", "app:" + strings.Repeat("t", 129),
		strings.Repeat("a", 256), "[::1/app", "ex ample.com/app", "..", "example.com/..",
	} {
		if ref, err := Parse(text); !errors.Is(err, ErrInvalidFormat) {
			t.Errorf("Parse(%q) = %+v, %v, want ErrInvalidFormat", text, ref, err)
		}
	}
}

func TestDerivedForms(t *testing.T) {
	for _, tc := range []struct {
		text                            string
		defaults, minimal, mostSpecific string
	}{
		{"busybox", "docker.io/library/busybox:latest", "busybox", "busybox"},
		{"docker.io/library/busybox:latest", "docker.io/library/busybox:latest", "docker.io/busybox", "docker.io/library/busybox:latest"},
		{"index.docker.io/me/app:1", "index.docker.io/me/app:1", "docker.io/me/app:1", "index.docker.io/me/app:1"},
		{"example.com/app", "example.com/app:latest", "example.com/app", "example.com/app"},
		{"example.com/a/b:t@" + digestA, "example.com/a/b:t@" + digestA, "example.com/a/b:t@" + digestA, "example.com/a/b@" + digestA},
	} {
		ref, err := Parse(tc.text)
		if err != nil {
			t.Fatalf("Parse(%q): %v", tc.text, err)
		}
		if got := ref.DockerClientDefaults().Exact(); got != tc.defaults {
			t.Errorf("%q with client defaults = %q, want %q", tc.text, got, tc.defaults)
		}
		if got := ref.DaemonMinimal().Exact(); got != tc.minimal {
			t.Errorf("%q minimal = %q, want %q", tc.text, got, tc.minimal)
		}
		if got := ref.MostSpecific().Exact(); got != tc.mostSpecific {
			t.Errorf("%q most specific = %q, want %q", tc.text, got, tc.mostSpecific)
		}
	}
	odd := DockerImageReference{Name: "app", ID: "v1"}
	if got := odd.MostSpecific(); got != (DockerImageReference{Name: "app", Tag: "v1"}) {
		t.Errorf("an id that is no digest: got %+v, want it as tag", got)
	}
}

func TestHostPort(t *testing.T) {
	for _, tc := range []struct {
		text       string
		insecure   bool
		host, port string
	}{
		{"busybox", false, "registry-1.docker.io", "443"},
		{"example.com/app", false, "example.com", "443"},
		{"example.com/app", true, "example.com", "80"},
		{"example.com:5000/app", true, "example.com", "5000"},
		{"[fd00::1]:5000/app", false, "[fd00::1]", "5000"},
		{"[fd00::1]:0/app", false, "[fd00::1]", "0"},
	} {
		ref, err := Parse(tc.text)
		if err != nil {
			t.Fatalf("Parse(%q): %v", tc.text, err)
		}
		if host, port := ref.HostPort(tc.insecure); host != tc.host || port != tc.port {
			t.Errorf("HostPort of %q = %s %s, want %s %s", tc.text, host, port, tc.host, tc.port)
		}
	}
}

func TestEqualFollowsClientDefaults(t *testing.T) {
	for _, pair := range [][2]string{
		{"busybox", "docker.io/library/busybox:latest"},
		{"index.docker.io/library/busybox", "busybox:latest"},
	} {
		a, _ := Parse(pair[0])
		b, _ := Parse(pair[1])
		if !a.Equal(b) {
			t.Errorf("%q and %q differ, want equal", pair[0], pair[1])
		}
	}
	a, _ := Parse("example.com/busybox")
	b, _ := Parse("busybox")
	if a.Equal(b) {
		t.Errorf("%q and %q are equal, want different", a, b)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"busybox", "host:5000/a/b:t@" + digestA, "localhost:5000", "[::1]:80/x", "a.b:c", "@", ":", "a:b:c/d",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ref, err := Parse(text)
		if err != nil {
			if ref != (DockerImageReference{}) {
				t.Fatalf("Parse(%q) failed but returned %+v", text, ref)
			}
			return
		}
		if got := ref.Exact(); got != text {
			t.Fatalf("Parse(%q).Exact() = %q", text, got)
		}
		defaulted := ref.DockerClientDefaults()
		if ref.Name == "" || len(defaulted.RepositoryName()) > MaxRepositoryLength {
			return
		}
		again, err := Parse(defaulted.Exact())
		if err != nil {
			t.Fatalf("Parse(%q) with client defaults does not parse: %v", text, err)
		}
		if !again.Equal(ref) {
			t.Fatalf("%q and its client defaults %q differ", ref, again)
		}
	})
}

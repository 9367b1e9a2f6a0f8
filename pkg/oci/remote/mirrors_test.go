package remote

import (
	"slices"
	"strings"
	"testing"

	"image.alauda.io/registry/test/secondregistry"

	configv1 "image.alauda.io/api/config/v1"
)

func TestSourcesInOrder(t *testing.T) {
	rules, err := compile(&Settings{
		InsecureRegistries: []string{"lax.local"},
		BlockedRegistries:  []string{"blocked.io"},
		Mirrors: []configv1.RegistryMirrors{
			{Source: "quay.io", Mirrors: []string{"host-wide.local"}},
			{Source: "quay.io/team", Mirrors: []string{"m1.local:5000/team", "lax.local/q"}, Insecure: true},
			{Source: "quay.io/team", Mirrors: []string{"m2.local/team", "m1.local:5000/team"}},
			{Source: "quay.io/digests", Mirrors: []string{"d.local"}, ApplyTo: configv1.MirrorDigests, MirrorSourcePolicy: configv1.NeverContactSource},
			{Source: "quay.io/tags", Mirrors: []string{"t.local"}, ApplyTo: configv1.MirrorTags},
			{Source: "index.docker.io/library", Mirrors: []string{"hub.local/library"}, MirrorSourcePolicy: configv1.NeverContactSource},
			{Source: "blocked.io", Mirrors: []string{"lax.local/b"}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name     string
		byDigest bool
		want     string
	}{
		{"quay.io/other/app", false, "host-wide.local/other/app quay.io/other/app"},
		{"quay.io/teams/app", false, "host-wide.local/teams/app quay.io/teams/app"},
		{"quay.io/team", true, "m1.local:5000/team! lax.local/q! m2.local/team quay.io/team"},
		{"quay.io/team/app", true, "m1.local:5000/team/app! lax.local/q/app! m2.local/team/app quay.io/team/app"},
		{"quay.io/digests/app", true, "d.local/app"},
		{"quay.io/digests/app", false, "host-wide.local/digests/app quay.io/digests/app"},
		{"quay.io/tags/app", false, "t.local/app quay.io/tags/app"},
		{"quay.io/tags/app", true, "host-wide.local/tags/app quay.io/tags/app"},
		{"docker.io/library/busybox", false, "hub.local/library/busybox"},
		{"docker.io/team/app", false, "docker.io/team/app"},
		{"blocked.io/app", false, "lax.local/b/app!"},
		{"lax.local/app", false, "lax.local/app!"},
	} {
		host, path, _ := strings.Cut(test.name, "/")
		var got []string
		for _, l := range rules.sources(location{host: host, path: path}, test.byDigest) {
			text := l.String()
			if l.insecure {
				text += "!"
			}
			got = append(got, text)
		}
		if !slices.Equal(got, strings.Fields(test.want)) {
			t.Errorf("%s (by digest %v):\n got %v\nwant %s", test.name, test.byDigest, got, test.want)
		}
	}
}

func TestMirrorsAreReadFirst(t *testing.T) {
	mirror := secondregistry.Start(t, secondregistry.Options{Users: map[string]string{"ann": "right"}})
	source := secondregistry.Start(t, secondregistry.Options{})
	mirrored := mirror.PushImage(t, "copies/app", "v1", secondregistry.Image{})
	source.PushImage(t, "team/app", "v1", secondregistry.Image{})
	only := source.PushImage(t, "team/app", "v2", secondregistry.Image{Seed: "2"})
	client := newClient(t)
	mirrors := func(policy configv1.MirrorSourcePolicy) []configv1.RegistryMirrors {
		return []configv1.RegistryMirrors{{Source: source.Host + "/team", Mirrors: []string{mirror.Host + "/copies"}, Insecure: true, MirrorSourcePolicy: policy}}
	}
	client.set(func(s *Settings) { s.Mirrors = mirrors(configv1.AllowContactingSource) })
	// Credentials are those for the mirror's own name.
	k := keys(t, logins{mirror.Host: {"ann", "right"}})
	name := source.Host + "/team/app"
	r := client.repository(t, name, true, k)

	m, err := r.Manifest(t.Context(), "v1")
	if err != nil || m.Digest != mirrored.Digest || m.Source != mirror.Host+"/copies/app" {
		t.Errorf("manifest is %+v, %v, want the mirror's", m, err)
	}
	if n := len(source.Requests()); n != 0 {
		t.Errorf("the source got %d requests, want none", n)
	}
	m, err = r.Manifest(t.Context(), "v2")
	if err != nil || m.Digest != only.Digest || m.Source != name {
		t.Errorf("manifest is %+v, %v, want the source's", m, err)
	}

	_, err = r.Manifest(t.Context(), "v3")
	wantKind(t, err, NotFound, mirror.Host+"/copies/app:v3 not found", "; ", name+":v3 not found")
	_, err = client.repository(t, name, true, nil).Manifest(t.Context(), "v3")
	wantKind(t, err, NotFound, "authentication required")

	client.set(func(s *Settings) { s.BlockedRegistries = []string{source.Host} })
	source.Forget()
	r = client.repository(t, name, true, k)
	if _, err := r.Manifest(t.Context(), "v1"); err != nil {
		t.Errorf("blocked source with a mirror: %v", err)
	}
	_, err = r.Manifest(t.Context(), "v2")
	e := wantKind(t, err, NotFound)
	if strings.Contains(e.Message, ";") {
		t.Errorf("a single failure became %q", e.Message)
	}
	client.set(func(s *Settings) { s.BlockedRegistries, s.Mirrors = nil, mirrors(configv1.NeverContactSource) })
	_, err = client.repository(t, name, true, k).Manifest(t.Context(), "v2")
	wantKind(t, err, NotFound)
	if n := len(source.Requests()); n != 0 {
		t.Errorf("the source got %d requests, want none", n)
	}
}

// The insecurity of a reference says nothing about the mirrors of its registry.
func TestMirrorsAreSecureUnlessTheirRuleSaysOtherwise(t *testing.T) {
	mirror := secondregistry.Start(t, secondregistry.Options{})
	source := secondregistry.Start(t, secondregistry.Options{})
	source.PushImage(t, "app", "v1", secondregistry.Image{})
	client := newClient(t)
	client.set(func(s *Settings) {
		s.Mirrors = []configv1.RegistryMirrors{{Source: source.Host, Mirrors: []string{mirror.Host}}}
	})
	m, err := client.repository(t, source.Host+"/app", true, nil).Manifest(t.Context(), "v1")
	if err != nil || m.Source != source.Host+"/app" {
		t.Errorf("manifest is %v, %v, want the source's", m, err)
	}
	if n := len(mirror.Requests()); n != 0 {
		t.Errorf("the mirror got %d plain requests, want none", n)
	}
}

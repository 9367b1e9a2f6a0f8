package repository

import "testing"

func hosts() Hosts {
	return Hosts{
		Internal: "image-registry.image-registry-system.svc:5000",
		External: []string{"registry.example.com", "second.example.com:8443"},
	}
}

func TestOwnRecognisesOnlyThisRegistry(t *testing.T) {
	tests := []struct {
		spec            string
		namespace, name string
	}{
		{"image-registry.image-registry-system.svc:5000/team-a/app@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "team-a", "app"},
		{"image-registry.image-registry-system.svc:5000/team-a/app:v1", "team-a", "app"},
		{"image-registry.image-registry-system.svc:5000/team-a/app", "team-a", "app"},
		{"image-registry.image-registry-system.svc.cluster.local:5000/team-a/app:v1", "team-a", "app"},
		{"registry.example.com/team-a/app:v1@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "team-a", "app"},
		{"second.example.com:8443/team-a/app", "team-a", "app"},
		// A domain that is not the cluster's may belong to anybody.
		{"image-registry.image-registry-system.svc.evil.example:5000/team-a/app", "", ""},
		{"image-registry.image-registry-system.svc/team-a/app", "", ""},
		{"second.example.com/team-a/app", "", ""},
		{"registry.example.com/app", "", ""},
		{"registry.example.com/team-a/app/deeper", "", ""},
		{"registry.example.com//app", "", ""},
		{"team-a/app", "", ""},
		{"", "", ""},
	}
	for _, test := range tests {
		namespace, name, ok := hosts().Own(test.spec)
		if namespace != test.namespace || name != test.name || ok != (test.name != "") {
			t.Errorf("Own(%q) = %q, %q, %t, want %q, %q", test.spec, namespace, name, ok, test.namespace, test.name)
		}
	}
}

func TestRepositories(t *testing.T) {
	tests := []struct {
		name             string
		hosts            Hosts
		internal, public string
	}{
		{"both", hosts(), "image-registry.image-registry-system.svc:5000/team-a/app", "registry.example.com/team-a/app"},
		// Behaviour 11: without an internal host the spec's repository is shown.
		{"no host", Hosts{}, "docker.io/library/app", ""},
		{"external only", Hosts{External: []string{"r.example.com"}}, "docker.io/library/app", "r.example.com/team-a/app"},
	}
	for _, test := range tests {
		internal, public := test.hosts.Repositories("team-a", "app", "docker.io/library/app")
		if internal != test.internal || public != test.public {
			t.Errorf("%s: got %q and %q, want %q and %q", test.name, internal, public, test.internal, test.public)
		}
	}
}

func TestPullSpecNeedsAName(t *testing.T) {
	if spec, ok := hosts().PullSpec("team-a", "app", "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"); !ok || spec != "image-registry.image-registry-system.svc:5000/team-a/app@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" {
		t.Errorf("got %q, %t", spec, ok)
	}
	if spec, ok := (Hosts{}).PullSpec("team-a", "app", "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"); ok {
		t.Errorf("a registry without names gave %q", spec)
	}
}

func FuzzOwn(f *testing.F) {
	f.Add("registry.example.com/team-a/app:v1@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")
	f.Fuzz(func(t *testing.T, spec string) {
		namespace, name, ok := hosts().Own(spec)
		if ok && (namespace == "" || name == "") {
			t.Errorf("Own(%q) is true with an empty part: %q, %q", spec, namespace, name)
		}
	})
}

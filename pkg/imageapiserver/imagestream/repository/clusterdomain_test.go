package repository

import (
	"testing"

	"k8s.io/apimachinery/pkg/util/validation"
)

func TestClusterDomainComesFromTheSearchList(t *testing.T) {
	tests := map[string]struct{ conf, want string }{
		"of a Pod":          {"nameserver 10.96.0.10\nsearch team-a.svc.cluster.test svc.cluster.test cluster.test\noptions ndots:5\n", "cluster.test"},
		"one label":         {"search a.svc.corp svc.corp corp\n", "corp"},
		"root and case":     {"search SVC.Cluster.Test.\n", "cluster.test"},
		"last line counts":  {"search svc.first.test\nsearch svc.second.test\n", "second.test"},
		"last line resets":  {"search svc.first.test\nsearch example.test\n", DefaultClusterDomain},
		"first entry":       {"search svc.first.test svc.second.test", "first.test"},
		"of a machine":      {"search example.test\n", DefaultClusterDomain},
		"namespace only":    {"search team-a.svc.cluster.test\n", DefaultClusterDomain},
		"comment":           {"# search svc.cluster.test\n; search svc.cluster.test\n", DefaultClusterDomain},
		"no domain":         {"search svc. svc\n", DefaultClusterDomain},
		"not a domain name": {"search svc.un_der..score\n", DefaultClusterDomain},
		"empty":             {"", DefaultClusterDomain},
	}
	for name, test := range tests {
		if got := ClusterDomain(test.conf); got != test.want {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
}

func TestInternalNameIsKnownWithTheClusterDomain(t *testing.T) {
	hosts := hosts()
	hosts.ClusterDomain = "cluster.test"
	for host, want := range map[string]bool{
		"image-registry.image-registry-system.svc.cluster.test:5000":  true,
		"image-registry.image-registry-system.svc:5000":               true,
		"image-registry.image-registry-system.svc.cluster.local:5000": false,
		"image-registry.image-registry-system.svc.cluster.test":       false,
	} {
		if got := hosts.Owns(host); got != want {
			t.Errorf("Owns(%q) = %t, want %t", host, got, want)
		}
	}
}

func FuzzClusterDomain(f *testing.F) {
	f.Add("nameserver 10.96.0.10\nsearch team-a.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n")
	f.Add("search svc.\r\nsearch\tsvc.a")
	f.Fuzz(func(t *testing.T, conf string) {
		if domain := ClusterDomain(conf); len(validation.IsDNS1123Subdomain(domain)) != 0 {
			t.Errorf("ClusterDomain(%q) = %q, which is no domain", conf, domain)
		}
	})
}

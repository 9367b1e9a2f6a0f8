package references

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Behaviour 17.
func TestKnownHosts(t *testing.T) {
	hosts := NewHosts("image-registry.image-registry-system", "5000")
	hosts.Add("registry.example.test", "port.example.test:443", "other.example.test:8443", "", "docker.io")
	hosts.AddAddress("198.18.0.7", "fd12::1", "None", "")
	hosts.AddRepository("stream.example.test:5000/ns/app")
	hosts.AddRepository("no-host")
	for host, want := range map[string]bool{
		"image-registry.image-registry-system.svc:5000":                   true,
		"image-registry.image-registry-system.svc.cluster.local:5000":     true,
		"image-registry.image-registry-system.svc.corp.example.test:5000": true,
		"image-registry.image-registry-system:5000":                       true,
		"image-registry.image-registry-system.svc":                        false,
		"image-registry.image-registry-system.example.test:5000":          false,
		"image-registry.image-registry-systems:5000":                      false,
		"registry.example.test":                                           true,
		"registry.example.test:443":                                       true,
		"Registry.Example.Test":                                           true,
		"registry.example.test:5000":                                      false,
		"port.example.test":                                               true,
		"other.example.test:8443":                                         true,
		"other.example.test":                                              false,
		"198.18.0.7:5000":                                                 true,
		"198.18.0.7":                                                      false,
		"[fd12::1]:5000":                                                  true,
		"[FD12:0:0:0::1]:5000":                                            true,
		"[fd12::1":                                                        false,
		"Image-Registry.Image-Registry-System.SVC:5000":                   true,
		"stream.example.test:5000":                                        true,
		"quay.io":                                                         false,
		"docker.io":                                                       false,
		"no-host":                                                         false,
	} {
		if got := hosts.Has(host); got != want {
			t.Errorf("%s: known %t, want %t", host, got, want)
		}
	}
	var any *Hosts
	if !any.Has("quay.io") || !any.Has("docker.io") {
		t.Error("without a list some host is unknown")
	}
}

// Behaviour 17: a reference to another registry protects nothing here.
func TestOnlyKnownHostsProtect(t *testing.T) {
	hosts := NewHosts("image-registry.image-registry-system", "5000")
	digest := "sha256:2222222222222222222222222222222222222222222222222222222222222222"
	for image, want := range map[string]bool{
		"image-registry.image-registry-system.svc:5000/ns/app":           true,
		"image-registry.image-registry-system.svc:5000/ns/app@" + digest: true,
		"quay.io/ns/app":                     false,
		"quay.io/ns/app@" + digest:           false,
		"ns/app":                             false,
		"docker-pullable://ns/app@" + digest: false,
		digest:                               true,
		"app":                                true,
	} {
		index := NewIndex(streams{{"ns", "app"}: true})
		index.LimitTo(hosts)
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Image: image}}}}
		if err := index.AddObject(pod, Ages{}); err != nil {
			t.Fatal(err)
		}
		if got := index.Count() > 0; got != want {
			t.Errorf("%s: counts %t, want %t", image, got, want)
		}
	}
}

package registryconfig

import (
	"errors"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/apply"
)

func TestPassKeepsFaultsInOrderAndByObject(t *testing.T) {
	a, b := apply.Ref{Kind: "Secret", Name: "a"}, apply.Ref{Kind: "Secret", Name: "b"}
	p := &pass{}
	if !p.add(nil) || !p.fail(a, nil) || p.err() != nil {
		t.Fatal("a success counts as a fault")
	}
	if p.add(errors.New("step")) || p.fail(a, errors.New("one")) || p.fail(b, errors.New("two")) || p.fail(a, errors.New("three")) {
		t.Fatal("a fault counts as a success")
	}
	if got, want := p.err().Error(), "step\none\ntwo\nthree"; got != want {
		t.Errorf("joined %q, want %q", got, want)
	}
	if p.have(a) || p.have(b) || !p.have(apply.Ref{Kind: "ConfigMap", Name: "a"}) || !p.have() {
		t.Error("what is missing is told wrongly")
	}
	if got, want := p.take(a).Error(), "one\nthree"; got != want {
		t.Errorf("took %q, want %q", got, want)
	}
	if got, want := p.err().Error(), "step\ntwo"; got != want || !p.have(a) {
		t.Errorf("left %q, want %q", got, want)
	}
}

func TestWhatIsLeftToTheAdministrator(t *testing.T) {
	object := func(kind, name, autoupdate string) *unstructured.Unstructured {
		o := &unstructured.Unstructured{}
		o.SetKind(kind)
		o.SetName(name)
		if autoupdate != "" {
			o.SetAnnotations(map[string]string{registryv1.AutoupdateAnnotation: autoupdate})
		}
		return o
	}
	tests := []struct {
		live *unstructured.Unstructured
		want bool
	}{
		{object("ClusterRole", "system:image-puller", "false"), true},
		{object("ClusterRole", "system:image-puller", "true"), false},
		{object("ClusterRole", "system:image-puller", ""), false},
		{object("Role", "image-registry", "false"), false},
		{object("ConfigMap", "trusted-ca", ""), true},
		{object("ConfigMap", "image-registry-certificates", "false"), false},
	}
	for _, test := range tests {
		if got := LeftAlone(test.live); got != test.want {
			t.Errorf("%s %s %v: left alone %v, want %v", test.live.GetKind(), test.live.GetName(), test.live.GetAnnotations(), got, test.want)
		}
	}
}

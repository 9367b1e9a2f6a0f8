package execute

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	imagev1 "image.alauda.io/api/image/v1"
	imagefake "image.alauda.io/client-go/clientset/versioned/fake"
	"image.alauda.io/registry/pkg/pruner/plan"
	"image.alauda.io/registry/pkg/pruner/references"
	"image.alauda.io/registry/pkg/pruner/report"
	"image.alauda.io/registry/pkg/pruner/snapshot"
)

type noStreams struct{}

func (noStreams) Has(references.Stream) (exists, local bool) { return false, false }

func (noStreams) Digests(references.Stream) []string { return nil }

func (noStreams) HasNamespace(string) bool { return false }

// Digests cannot form circles, but Images that somebody wrote by hand can: what a dry run announces must
// come to pass for them, too.
func TestImagesInCirclesGo(t *testing.T) {
	client := imagefake.NewClientset()
	images := map[string]snapshot.Image{
		"self": {Children: []string{"self"}}, "own": {Subject: "own"}, "a": {Children: []string{"b"}}, "b": {Children: []string{"a"}},
	}
	var decisions []plan.Image
	for name, image := range images {
		image.Digest = name
		images[name] = image
		decisions = append(decisions, plan.Image{Image: image})
		if err := client.Tracker().Add(&imagev1.Image{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
			t.Fatal(err)
		}
	}
	e := &Executor{Client: client, Workers: 1, Planner: &plan.Planner{
		Snapshot: &snapshot.Snapshot{Images: images, Uses: references.NewIndex(noStreams{})},
	}}
	items := e.Images(t.Context(), decisions)
	if len(items) != len(images) {
		t.Errorf("%d lines about %d images", len(items), len(images))
	}
	for _, item := range items {
		if item.Action != report.Deleted {
			t.Errorf("%s: %s %s %s", item.Digest, item.Action, item.Reason, item.Error)
		}
	}
}

package apigroup_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/rest"

	"image.alauda.io/registry/pkg/imageapiserver/apigroup/grouptest"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
)

var updateGolden = flag.Bool("update", false, "rewrite golden files")

// Behaviour 5.
func TestTables(t *testing.T) {
	env := grouptest.New(t)
	ago := func(d time.Duration) metav1.Time { return metav1.NewTime(env.Clock.Now().Add(-d)) }
	stream := func(name string, tags ...string) imageapi.ImageStream {
		result := *grouptest.Stream("team-a", name)
		result.Status.DockerImageRepository = grouptest.Internal + "/team-a/" + name
		result.Status.Tags = map[string]imageapi.TagEventList{}
		for i, tag := range tags {
			result.Status.Tags[tag] = imageapi.TagEventList{Items: []imageapi.TagEvent{{Created: ago(time.Duration(i+1) * time.Hour), DockerImageReference: "r"}}}
		}
		return result
	}
	public := stream("public", "v1")
	public.Status.PublicDockerImageRepository = "registry.example.com/team-a/public"
	noItems := stream("no-items")
	noItems.Status.Tags["failed"] = imageapi.TagEventList{}

	image := *grouptest.Pushed("team-a", "app", "one")
	image.CreationTimestamp = ago(90 * time.Minute)
	image.DockerImageMetadata.Size = 5 << 20

	tag := imageapi.ImageStreamTag{Image: image}
	tag.Name, tag.CreationTimestamp = "app:v1", ago(3*24*time.Hour)
	for i := range 7 {
		tag.History = append(tag.History, grouptest.Digest(fmt.Sprint("older ", i)))
	}
	streamImage := imageapi.ImageStreamImage{Image: image}
	streamImage.Name, streamImage.CreationTimestamp = "app@"+image.Name[:15], image.CreationTimestamp

	var imageTags []imageapi.ImageTag
	imageTag := func(name string, from *imageapi.TagReference, change func(*imageapi.ImageTag)) {
		tag := imageapi.ImageTag{Spec: from}
		tag.Namespace, tag.Name = "team-a", "app:"+name
		change(&tag)
		imageTags = append(imageTags, tag)
	}
	spec := func(kind, namespace, from string, generation int64) *imageapi.TagReference {
		tag := grouptest.Tag("x", kind, namespace, from)
		tag.Generation = &generation
		return &tag
	}
	history := func(generation int64, words ...string) func(*imageapi.ImageTag) {
		return func(tag *imageapi.ImageTag) {
			tag.Status = &imageapi.NamedTagEventList{}
			for i, word := range words {
				event := imageapi.TagEvent{Created: ago(time.Duration(i+1) * time.Hour), DockerImageReference: "quay.io/org/app:" + word, Generation: generation}
				if word != "reference" {
					event.Image = grouptest.Digest(word)
				}
				tag.Status.Items = append(tag.Status.Items, event)
			}
		}
	}
	failed := func(reason string) func(*imageapi.ImageTag) {
		return func(tag *imageapi.ImageTag) {
			tag.Status = &imageapi.NamedTagEventList{Conditions: []imageapi.TagEventCondition{{
				Type: imageapi.ImportSuccess, Status: "False", Reason: reason, LastTransitionTime: ago(5 * time.Minute),
			}}}
		}
	}
	nothing := func(*imageapi.ImageTag) {}
	reference, scheduled := spec("DockerImage", "", "quay.io/org/app:reference", 1), spec("DockerImage", "", "quay.io/org/app:1", 1)
	reference.Reference, scheduled.ImportPolicy.Scheduled = true, true
	imageTag("nil", nil, nothing)
	imageTag("no-items", nil, func(tag *imageapi.ImageTag) { tag.Status = &imageapi.NamedTagEventList{} })
	imageTag("no-from", spec("", "", "", 1), nothing)
	imageTag("pushed", nil, history(1, "one"))
	imageTag("pushed-over", spec("DockerImage", "", "quay.io/org/app:1", 1), history(2, "two", "one"))
	imageTag("imported", spec("DockerImage", "", "quay.io/org/app:1", 1), history(1, "one"))
	imageTag("scheduled", scheduled, history(1, "one"))
	imageTag("reference", reference, history(1, "reference"))
	imageTag("importing", spec("DockerImage", "", "quay.io/org/app:2", 2), history(1, "one"))
	imageTag("waiting", spec("DockerImage", "", "quay.io/org/app:1", 1), nothing)
	imageTag("failed", spec("DockerImage", "", "quay.io/org/app:1", 1), failed("NotFound"))
	imageTag("failed-without-reason", spec("DockerImage", "", "quay.io/org/app:1", 1), failed(""))
	imageTag("track", spec("ImageStreamTag", "", "latest", 1), history(3, "one"))
	imageTag("from-tag", spec("ImageStreamTag", "team-a", "base:v1", 1), nothing)
	imageTag("from-other", spec("ImageStreamTag", "team-b", "base:v1", 1), nothing)
	imageTag("from-image", spec("ImageStreamImage", "", "base@"+grouptest.Digest("one")[:20], 1), nothing)
	imageTag("bad-name", spec("ImageStreamTag", "", "a:b:c", 1), nothing)
	imageTag("bad-id", spec("ImageStreamImage", "", "a@b@c", 1), nothing)
	imageTag("empty-name", spec("DockerImage", "", "", 1), nothing)
	imageTag("bad-kind", spec("Pod", "", "x", 1), nothing)

	tests := []struct {
		resource string
		list     runtime.Object
	}{
		{"images", &imageapi.ImageList{Items: []imageapi.Image{{}, image, *grouptest.PushedIndex("team-a", "app", "index", "a", "b")}}},
		{"imagestreams", &imageapi.ImageStreamList{Items: []imageapi.ImageStream{
			{}, noItems, stream("one", "v1"), public,
			stream("fits", "aaaaaaaaaa", "bbbbbbbbbb", "cccccccccc"),
			stream("crosses", strings.Repeat("a", 25), strings.Repeat("b", 20), "c"),
			stream("too-long", strings.Repeat("a", 35), strings.Repeat("b", 20), "c"),
			stream("first-too-long", strings.Repeat("a", 90), "b"),
			stream("many", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13", "v14", "v15", "v16", "v17", "v18"),
		}}},
		{"imagestreamtags", &imageapi.ImageStreamTagList{Items: []imageapi.ImageStreamTag{{}, tag}}},
		{"imagetags", &imageapi.ImageTagList{Items: imageTags}},
		{"imagestreamimages", &streamImage},
	}
	for _, test := range tests {
		t.Run(test.resource, func(t *testing.T) {
			result, err := env.Group.Storage[test.resource].(rest.TableConvertor).ConvertToTable(t.Context(), test.list, &metav1.TableOptions{})
			if err != nil {
				t.Fatal(err)
			}
			compare(t, test.resource, render(result))
		})
	}
}

func render(result *metav1.Table) string {
	var text strings.Builder
	for _, column := range result.ColumnDefinitions {
		fmt.Fprintf(&text, "%s (%d) | ", column.Name, column.Priority)
	}
	text.WriteString("\n")
	for _, row := range result.Rows {
		for _, cell := range row.Cells {
			encoded, _ := json.Marshal(cell)
			fmt.Fprintf(&text, "%s | ", encoded)
		}
		text.WriteString("\n")
	}
	return text.String()
}

func compare(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", "table-"+name+".txt")
	if *updateGolden {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

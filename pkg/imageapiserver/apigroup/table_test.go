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

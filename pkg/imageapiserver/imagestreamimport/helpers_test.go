package imagestreamimport_test

import (
	"context"
	"net/http"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"image.alauda.io/api/image/reference"
	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/imageapiserver/apigroup/grouptest"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/importer"
)

const (
	ns   = "team-a"
	hub  = "quay.io/org/app"
	user = "editor"
)

// world is what other registries have: results by pull spec, and the tags of repositories.
type world struct {
	images map[string]importer.ItemResult
	tags   map[string][]string
	// asked are the pull specs of requests, in order.
	asked []string
	last  importer.Request
	// during runs while the images are looked up.
	during func()
}

func newWorld(env *grouptest.Env) *world {
	w := &world{images: map[string]importer.ItemResult{}, tags: map[string][]string{}}
	env.Import = w.Import
	return w
}

func (w *world) Import(_ context.Context, request importer.Request) importer.Result {
	w.last = request
	if w.during != nil {
		w.during()
	}
	var result importer.Result
	for _, item := range request.Items {
		w.asked = append(w.asked, item.From)
		result.Items = append(result.Items, w.find(item.From))
	}
	if repository := request.Repository; repository != nil {
		result.Repository = &importer.RepositoryResult{}
		tags, found := w.tags[repository.From]
		if !found {
			result.Repository.Err = failure(metav1.StatusReasonNotFound, http.StatusNotFound, "repository does not exist").Err
		}
		for _, tag := range tags {
			item := w.find(repository.From + ":" + tag)
			item.Tag = tag
			result.Repository.Tags = append(result.Repository.Tags, item)
		}
	}
	return result
}

func (w *world) find(from string) importer.ItemResult {
	result, found := w.images[from]
	if !found {
		return failure(metav1.StatusReasonNotFound, http.StatusNotFound, "not found")
	}
	if result.Image != nil {
		result.Image = result.Image.DeepCopy()
		ref, _ := reference.Parse(from)
		result.Tag, ref.Tag, ref.ID = ref.Tag, "", result.Image.Name
		result.Image.DockerImageReference = ref.Exact()
		for i := range result.Children {
			result.Children[i] = result.Children[i].DeepCopy()
			ref.ID = result.Children[i].Name
			result.Children[i].DockerImageReference = ref.Exact()
		}
	}
	return result
}

func failure(reason metav1.StatusReason, code int32, message string) importer.ItemResult {
	return importer.ItemResult{Err: &importer.Error{Reason: reason, Code: code, Message: message}}
}

func timeout() importer.ItemResult {
	result := failure(metav1.StatusReasonTimeout, http.StatusGatewayTimeout, "the time is up")
	result.Unfinished = true
	return result
}

// image is an image of another registry; what it says about itself must count for nothing.
func image(word string) importer.ItemResult {
	found := grouptest.Pushed("", "", word)
	return importer.ItemResult{Image: found}
}

func index(word string, children ...string) importer.ItemResult {
	result := importer.ItemResult{Image: grouptest.PushedIndex("", "", word, children...)}
	for _, child := range children {
		result.Children = append(result.Children, grouptest.Pushed("", "", child))
	}
	return result
}

func docker(name string) corev1.ObjectReference {
	return corev1.ObjectReference{Kind: "DockerImage", Name: name}
}

// request imports images into a stream; each is "pull spec" or "pull spec" and "tag" in turn.
func request(stream string, images ...imagev1.ImageImportSpec) *imagev1.ImageStreamImport {
	r := &imagev1.ImageStreamImport{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: stream}}
	r.Spec.Import, r.Spec.Images = true, images
	return r
}

func from(pullSpec, tag string) imagev1.ImageImportSpec {
	spec := imagev1.ImageImportSpec{From: docker(pullSpec)}
	if tag != "" {
		spec.To = &corev1.LocalObjectReference{Name: tag}
	}
	return spec
}

func send(t *testing.T, env *grouptest.Env, r *imagev1.ImageStreamImport, dryRun ...string) *imageapi.ImageStreamImport {
	t.Helper()
	answer, err := env.CreateImport(env.Request(user, ns, "imagestreamimports"), r, dryRun...)
	if err != nil {
		t.Fatalf("import into %s: %v", r.Name, err)
	}
	return answer
}

func head(t *testing.T, stream *imageapi.ImageStream, tag string) imageapi.TagEvent {
	t.Helper()
	items := stream.Status.Tags[tag].Items
	if len(items) == 0 {
		t.Fatalf("%s/%s:%s has no event", stream.Namespace, stream.Name, tag)
	}
	return items[0]
}

func contents(t *testing.T, env *grouptest.Env, namespace, stream string) *imageapi.ImageStreamLayers {
	t.Helper()
	layers, err := env.Group.Layers.Layers(env.Request(user, namespace, "imagestreams"), env.Stream(namespace, stream))
	if err != nil {
		t.Fatal(err)
	}
	return layers
}

func stored(env *grouptest.Env, word string) *imageapi.Image {
	found, err := env.Group.Images.Find(env.Request(user, "", "images"), grouptest.Digest(word))
	if err != nil {
		return nil
	}
	return found
}

//go:build component

package apiserver

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/test/secondregistry"
)

func dockerTag(name, from string) *imagev1.TagReference {
	return &imagev1.TagReference{Name: name, From: &corev1.ObjectReference{Kind: "DockerImage", Name: from}}
}

// applied sends a server-side apply and returns the answer and its status code.
func (e *environment) applied(t *testing.T, namespace, resource, name, body string, dryRun bool) (map[string]any, int, error) {
	t.Helper()
	request := e.images.ImageV1().RESTClient().Patch(types.ApplyPatchType).Namespace(namespace).Resource(resource).Name(name).
		Param("fieldManager", "gitops").Body([]byte(body))
	if dryRun {
		request = request.Param("dryRun", metav1.DryRunAll)
	}
	code := 0
	result := request.Do(t.Context()).StatusCode(&code)
	raw, err := result.Raw()
	answer := map[string]any{}
	if err == nil {
		err = json.Unmarshal(raw, &answer)
	}
	return answer, code, err
}

// Server-side apply of single tags creates stream and tag, replaces the tag, and keeps no owners. The tags are
// references, so that no import changes the stream besides.
// Behaviour 25.
func testApplyTags(t *testing.T, e *environment) {
	namespace := e.newNamespace(t)
	streams := e.images.ImageV1().ImageStreams(namespace)
	for resource, body := range map[string]string{
		"imagestreamtags": `{"apiVersion":"image.alauda.io/v1","kind":"ImageStreamTag","metadata":{"name":"%s:v1","namespace":"` + namespace + `"},"tag":{"name":"v1","reference":true,"from":{"kind":"DockerImage","name":"example.test/app:%d"}}}`,
		"imagetags":       `{"apiVersion":"image.alauda.io/v1","kind":"ImageTag","metadata":{"name":"%s:v1","namespace":"` + namespace + `"},"spec":{"name":"v1","reference":true,"from":{"kind":"DockerImage","name":"example.test/app:%d"}}}`,
	} {
		name := resource + ":v1"
		if _, code, err := e.applied(t, namespace, resource, name, fmt.Sprintf(body, resource, 0), true); err != nil || code != http.StatusCreated {
			t.Errorf("dry run of %s: status %d, %v", resource, code, err)
		}
		if _, err := streams.Get(t.Context(), resource, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			t.Errorf("a dry run of %s left a stream: %v", resource, err)
		}
		for version, want := range []int{http.StatusCreated, http.StatusOK, http.StatusOK} {
			answer, code, err := e.applied(t, namespace, resource, name, fmt.Sprintf(body, resource, min(version, 1)), false)
			if err != nil || code != want {
				t.Fatalf("apply %d of %s: status %d, want %d, %v", version, resource, code, want, err)
			}
			if fields := answer["metadata"].(map[string]any)["managedFields"]; fields != nil {
				t.Errorf("%s came back with owners of fields: %v", resource, fields)
			}
		}
		stored, err := streams.Get(t.Context(), resource, metav1.GetOptions{})
		if err != nil || len(stored.Spec.Tags) != 1 || stored.Spec.Tags[0].From.Name != "example.test/app:1" {
			t.Errorf("after applies of %s: %+v, %v", resource, stored.Spec.Tags, err)
		}
		if stored.Generation != 2 {
			t.Errorf("after a create, a change and a repetition of %s the generation is %d, want 2", resource, stored.Generation)
		}
	}
}

// Behaviours 16, 27 and 30, through kube-apiserver and with status codes.
func testTagUpdates(t *testing.T, e *environment) {
	namespace := e.newNamespace(t)
	api := e.images.ImageV1()
	tag, err := api.ImageTags(namespace).Create(t.Context(), &imagev1.ImageTag{ObjectMeta: metav1.ObjectMeta{Name: "app:v1"}, Spec: dockerTag("v1", "example.test/app:1")}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := api.ImageStreamTags(namespace).Get(t.Context(), "app:v1", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("a tag without image: %v, want NotFound", err)
	}
	if _, err := api.ImageStreamMappings(namespace).Create(t.Context(), mapping("app", "v1", namespace), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	tag.Spec.ReferencePolicy.Type = imagev1.LocalTagReferencePolicy
	if _, err := api.ImageTags(namespace).Update(t.Context(), tag, metav1.UpdateOptions{}); !apierrors.IsConflict(err) {
		t.Errorf("update of an old version: %v, want Conflict", err)
	}
	for _, patch := range []struct {
		kind types.PatchType
		body string
	}{
		{types.MergePatchType, `{"spec":{"referencePolicy":{"type":"Local"}}}`},
		{types.StrategicMergePatchType, `{"spec":{"importPolicy":{"scheduled":true}}}`},
		{types.JSONPatchType, `[{"op":"replace","path":"/spec/from/name","value":"example.test/app:2"}]`},
	} {
		if _, err := api.ImageTags(namespace).Patch(t.Context(), "app:v1", patch.kind, []byte(patch.body), metav1.PatchOptions{}); err != nil {
			t.Errorf("%s: %v", patch.kind, err)
		}
	}
	current, err := api.ImageTags(namespace).Get(t.Context(), "app:v1", metav1.GetOptions{})
	if err != nil || current.Spec.ReferencePolicy.Type != imagev1.LocalTagReferencePolicy || !current.Spec.ImportPolicy.Scheduled ||
		current.Spec.From.Name != "example.test/app:2" || current.Image == nil || len(current.Status.Items) != 1 {
		t.Errorf("after three patches: %+v, %v", current, err)
	}
	if _, err := api.ImageTags(namespace).Patch(t.Context(), "app:v1", types.MergePatchType, []byte(`{"metadata":{"labels":{"a":"b"}}}`), metav1.PatchOptions{}); !apierrors.IsInvalid(err) {
		t.Errorf("labels: %v, want Invalid", err)
	}
	if _, err := api.ImageTags(namespace).Patch(t.Context(), "app:v1", types.MergePatchType, []byte(`{"spec":null}`), metav1.PatchOptions{}); err != nil {
		t.Errorf("spec null: %v", err)
	}
	stored, err := api.ImageStreams(namespace).Get(t.Context(), "app", metav1.GetOptions{})
	if err != nil || len(stored.Spec.Tags) != 0 || len(stored.Status.Tags) != 1 {
		t.Errorf("after spec null the stream has %+v, %v", stored, err)
	}
	code := 0
	put := func(resource, name, body string) error {
		return api.RESTClient().Put().Namespace(namespace).Resource(resource).Name(name).Body([]byte(body)).Do(t.Context()).StatusCode(&code).Error()
	}
	for _, want := range []int{http.StatusCreated, http.StatusOK} {
		if err := put("imagestreamtags", "app:v1", `{"apiVersion":"image.alauda.io/v1","kind":"ImageStreamTag","metadata":{"name":"app:v1"},"tag":{"from":{"kind":"DockerImage","name":"example.test/app:3"}}}`); err != nil || code != want {
			t.Errorf("unconditional PUT: status %d, want %d, %v", code, want, err)
		}
	}
	if err := put("imagetags", "app:none", `{"apiVersion":"image.alauda.io/v1","kind":"ImageTag","metadata":{"name":"app:none"},"spec":null}`); !apierrors.IsBadRequest(err) {
		t.Errorf("PUT of a tag that is not there without spec: %v, want BadRequest", err)
	}
	if err := api.ImageTags(namespace).Delete(t.Context(), "app:v1", metav1.DeleteOptions{}); err != nil {
		t.Error(err)
	}
	if stored, err = api.ImageStreams(namespace).Get(t.Context(), "app", metav1.GetOptions{}); err != nil || len(stored.Spec.Tags)+len(stored.Status.Tags) != 0 {
		t.Errorf("after the deletion of its tag the stream has %+v, %v", stored, err)
	}
}

// Behaviour 24: labels and fields select streams, images and tags.
func testSelectors(t *testing.T, e *environment) {
	namespace := e.newNamespace(t)
	api := e.images.ImageV1()
	for _, name := range []string{"one", "two"} {
		s := stream(name)
		s.Labels = map[string]string{"name": name}
		if name == "two" {
			s.Spec.DockerImageRepository = "example.test/org/two"
		}
		if _, err := api.ImageStreams(namespace).Create(t.Context(), s, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, err := api.ImageStreamMappings(namespace).Create(t.Context(), mapping(name, "v1", namespace+name), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	image := digestOf(namespace + "one")
	tests := []struct {
		resource, fields, labels string
		want                     []string
	}{
		{"imagestreams", "metadata.name=one", "", []string{"one"}},
		{"imagestreams", "metadata.namespace=" + namespace, "", []string{"one", "two"}},
		{"imagestreams", "metadata.namespace=other", "", nil},
		{"imagestreams", "spec.dockerImageRepository=example.test/org/two", "", []string{"two"}},
		{"imagestreams", "status.dockerImageRepository=" + internalHost + "/" + namespace + "/one", "", []string{"one"}},
		{"imagestreams", "", "name in (two)", []string{"two"}},
		{"imagestreamtags", "metadata.name=two:v1", "", []string{"two:v1"}},
		{"imagestreamtags", "", "name=one", []string{"one:v1"}},
		{"imagetags", "metadata.name=two:v1", "", []string{"two:v1"}},
		{"imagetags", "", "name=one", []string{"one:v1"}},
		{"images", "metadata.name=" + image, "", []string{image}},
	}
	list := func(ctx context.Context, resource, fields, labels string) ([]string, error) {
		request := api.RESTClient().Get().Resource(resource).Param("fieldSelector", fields).Param("labelSelector", labels)
		if resource != "images" {
			request = request.Namespace(namespace)
		}
		raw, err := request.DoRaw(ctx)
		if err != nil {
			return nil, err
		}
		var found metav1.PartialObjectMetadataList
		err = json.Unmarshal(raw, &found)
		var names []string
		for _, item := range found.Items {
			names = append(names, item.Name)
		}
		return names, err
	}
	for _, test := range tests {
		if got, err := list(t.Context(), test.resource, test.fields, test.labels); err != nil || !slices.Equal(got, test.want) {
			t.Errorf("%s with fields %q and labels %q: %v, %v; want %v", test.resource, test.fields, test.labels, got, err, test.want)
		}
	}
	for resource, field := range map[string]string{"imagestreams": "spec.lookupPolicy=x", "images": "metadata.namespace=x", "imagestreamtags": "tag.name=x", "imagetags": "spec.name=x"} {
		if _, err := list(t.Context(), resource, field, ""); !apierrors.IsBadRequest(err) {
			t.Errorf("%s with field %q: %v, want BadRequest", resource, field, err)
		}
	}
}

// testDeleteCollection removes what labels select and nothing else.
func testDeleteCollection(t *testing.T, e *environment) {
	namespace := e.newNamespace(t)
	streams := e.images.ImageV1().ImageStreams(namespace)
	for n := range 5 {
		s := stream(fmt.Sprint("s", n))
		if n < 3 {
			s.Labels = map[string]string{"old": "yes"}
		}
		if _, err := streams.Create(t.Context(), s, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	count := func() int {
		list, err := streams.List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return len(list.Items)
	}
	old := metav1.ListOptions{LabelSelector: "old=yes"}
	if err := streams.DeleteCollection(t.Context(), metav1.DeleteOptions{DryRun: []string{metav1.DryRunAll}}, old); err != nil || count() != 5 {
		t.Errorf("dry run: %v, %d streams are left, want 5", err, count())
	}
	if err := streams.DeleteCollection(t.Context(), metav1.DeleteOptions{}, old); err != nil || count() != 2 {
		t.Errorf("%v, %d streams are left, want 2", err, count())
	}
}

// testDryRun sends every kind of write as a dry run: none may leave anything behind.
func testDryRun(t *testing.T, e *environment) {
	namespace := e.newNamespace(t)
	api := e.images.ImageV1()
	current, err := api.ImageStreams(namespace).Create(t.Context(), stream("app"), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := api.ImageStreamMappings(namespace).Create(t.Context(), mapping("app", "v1", namespace), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	image, err := api.Images().Get(t.Context(), digestOf(namespace), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if current, err = api.ImageStreams(namespace).Get(t.Context(), "app", metav1.GetOptions{}); err != nil {
		t.Fatal(err)
	}
	kept := &imagev1.ImageSignature{ObjectMeta: metav1.ObjectMeta{Name: image.Name + "@kept"}, Type: "AtomicImageV1", Content: []byte("kept")}
	if _, err := api.ImageSignatures().Create(t.Context(), kept, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if image, err = api.Images().Get(t.Context(), image.Name, metav1.GetOptions{}); err != nil {
		t.Fatal(err)
	}
	elsewhere := secondregistry.Start(t, secondregistry.Options{})
	content := elsewhere.PushImage(t, "org/app", "v1", secondregistry.Image{})
	e.configure(t, fmt.Sprintf("imageImport: {allowedHosts: [%q]}\n", elsewhere.Host))
	defer e.configure(t, "")
	before := e.state(t, namespace, image.Name)
	dry := []string{metav1.DryRunAll}
	created, updated, removed := metav1.CreateOptions{DryRun: dry}, metav1.UpdateOptions{DryRun: dry}, metav1.DeleteOptions{DryRun: dry}
	signature := &imagev1.ImageSignature{ObjectMeta: metav1.ObjectMeta{Name: image.Name + "@dry"}, Type: "AtomicImageV1", Content: []byte("x")}
	for what, write := range map[string]func() error{
		"create stream": func() error {
			_, err := api.ImageStreams(namespace).Create(t.Context(), stream("dry"), created)
			return err
		},
		"update stream": func() error {
			c := current.DeepCopy()
			c.Spec.LookupPolicy.Local = true
			_, err := api.ImageStreams(namespace).Update(t.Context(), c, updated)
			return err
		},
		"update status": func() error {
			c := current.DeepCopy()
			c.Status.Tags = nil
			_, err := api.ImageStreams(namespace).UpdateStatus(t.Context(), c, updated)
			return err
		},
		"delete stream": func() error { return api.ImageStreams(namespace).Delete(t.Context(), "app", removed) },
		"create image": func() error {
			_, err := api.Images().Create(t.Context(), &mapping("app", "v1", namespace+"dry").Image, created)
			return requireReference(err)
		},
		"update image": func() error {
			c := image.DeepCopy()
			c.Labels = map[string]string{"a": "b"}
			_, err := api.Images().Update(t.Context(), c, updated)
			return err
		},
		"delete image": func() error { return api.Images().Delete(t.Context(), image.Name, removed) },
		"mapping": func() error {
			_, err := api.ImageStreamMappings(namespace).Create(t.Context(), mapping("app", "dry", namespace+"dry"), created)
			return err
		},
		"create istag": func() error {
			_, err := api.ImageStreamTags(namespace).Create(t.Context(), &imagev1.ImageStreamTag{ObjectMeta: metav1.ObjectMeta{Name: "dry:v1"}, Tag: dockerTag("v1", "example.test/a")}, created)
			return err
		},
		"update istag": func() error {
			_, err := api.ImageStreamTags(namespace).Update(t.Context(), &imagev1.ImageStreamTag{ObjectMeta: metav1.ObjectMeta{Name: "app:dry"}, Tag: dockerTag("dry", "example.test/a")}, updated)
			return err
		},
		"delete istag": func() error { return api.ImageStreamTags(namespace).Delete(t.Context(), "app:v1", removed) },
		"create itag": func() error {
			_, err := api.ImageTags(namespace).Create(t.Context(), &imagev1.ImageTag{ObjectMeta: metav1.ObjectMeta{Name: "dry:v1"}, Spec: dockerTag("v1", "example.test/a")}, created)
			return err
		},
		"update itag": func() error {
			_, err := api.ImageTags(namespace).Update(t.Context(), &imagev1.ImageTag{ObjectMeta: metav1.ObjectMeta{Name: "app:dry"}, Spec: dockerTag("dry", "example.test/a")}, updated)
			return err
		},
		"delete itag":      func() error { return api.ImageTags(namespace).Delete(t.Context(), "app:v1", removed) },
		"create signature": func() error { _, err := api.ImageSignatures().Create(t.Context(), signature, created); return err },
		"delete signature": func() error { return api.ImageSignatures().Delete(t.Context(), kept.Name, removed) },
		"import":           func() error { return e.dryImport(t, namespace, "app", elsewhere.Host+"/org/app:v1", created) },
		"first import":     func() error { return e.dryImport(t, namespace, "dry", elsewhere.Host+"/org/app:v1", created) },
	} {
		if err := write(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	if after := e.state(t, namespace, image.Name); after != before {
		t.Errorf("dry runs changed\n%s\nto\n%s", before, after)
	}
	if _, err := api.Images().Get(t.Context(), content.Digest.String(), metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the image of a dry import: %v, want NotFound", err)
	}
}

// dryImport rehearses an import of one image, which must find it, as soon as the servers may speak to its
// registry.
func (e *environment) dryImport(t *testing.T, namespace, stream, from string, options metav1.CreateOptions) error {
	request := &imagev1.ImageStreamImport{
		ObjectMeta: metav1.ObjectMeta{Name: stream},
		Spec: imagev1.ImageStreamImportSpec{Import: true, Images: []imagev1.ImageImportSpec{{
			From: corev1.ObjectReference{Kind: "DockerImage", Name: from}, To: &corev1.LocalObjectReference{Name: "dry"},
			ImportPolicy: imagev1.TagImportPolicy{Insecure: true},
		}}},
	}
	var refused error
	e.eventually(t, "dry import", func(ctx context.Context) error {
		answer, err := e.images.ImageV1().ImageStreamImports(namespace).Create(ctx, request, options)
		if err != nil {
			refused = err
			return nil
		}
		if item := answer.Status.Images[0]; item.Status.Status != metav1.StatusSuccess || item.Image == nil {
			return fmt.Errorf("status %+v", item.Status)
		}
		return nil
	})
	return refused
}

// requireReference passes the refusal of an image without pull spec: it was checked, which is all that a dry run is for.
func requireReference(err error) error {
	if apierrors.IsInvalid(err) {
		return nil
	}
	return err
}

// state names the streams of a namespace and one image with their versions.
func (e *environment) state(t *testing.T, namespace, image string) string {
	t.Helper()
	api := e.images.ImageV1()
	streams, err := api.ImageStreams(namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	found, err := api.Images().Get(t.Context(), image, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	text := found.Name + " " + found.ResourceVersion + "\n"
	for _, item := range streams.Items {
		text += item.Name + " " + item.ResourceVersion + "\n"
	}
	if _, err := api.Images().Get(t.Context(), digestOf(namespace+"dry"), metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		text += fmt.Sprintf("an image of a dry run: %v\n", err)
	}
	return text
}

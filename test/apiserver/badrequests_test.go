//go:build component

package apiserver

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// badRequest is a request that must be refused.
type badRequest struct {
	// verb is POST, PUT, GET, DELETE or a content type of a patch.
	verb, resource, name, body string
	reason                     metav1.StatusReason
	// field is what a cause must name, for a refusal with causes.
	field string
}

// Every refusal is a Status with code, reason and message, and names the field when a field is wrong.
func testBadRequests(t *testing.T, e *environment) {
	namespace := e.newNamespace(t)
	api := e.images.ImageV1()
	existing := stream("app")
	if _, err := api.ImageStreams(namespace).Create(t.Context(), existing, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := api.ImageStreamMappings(namespace).Create(t.Context(), mapping("app", "v1", namespace), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, request := range badRequests(namespace, digestOf(namespace)) {
		t.Run(strings.ReplaceAll(request.verb+" "+request.resource+" "+request.name+" "+string(request.reason)+" "+request.field, "/", "-"), func(t *testing.T) {
			err := e.send(t, namespace, request)
			if problem := request.judge(err); problem != nil {
				t.Errorf("body %.300s\n%v", request.body, problem)
			}
		})
	}
}

func (e *environment) send(t *testing.T, namespace string, r badRequest) error {
	client := e.images.ImageV1().RESTClient()
	request := client.Verb(r.verb)
	if types.PatchType(r.verb) == types.MergePatchType || types.PatchType(r.verb) == types.ApplyPatchType || types.PatchType(r.verb) == types.JSONPatchType {
		request = client.Patch(types.PatchType(r.verb)).Param("fieldManager", "test")
	}
	if !strings.HasPrefix(r.resource, "images") && r.resource != "imagesignatures" || strings.HasPrefix(r.resource, "imagestream") {
		request = request.Namespace(namespace)
	}
	resource, sub, _ := strings.Cut(r.resource, "/")
	request = request.Resource(resource)
	if r.name != "" {
		request = request.Name(r.name)
	}
	if sub != "" {
		request = request.SubResource(sub)
	}
	if r.body != "" {
		request = request.SetHeader("Content-Type", contentType(r.verb)).Body([]byte(r.body))
	}
	return request.Do(t.Context()).Error()
}

func contentType(verb string) string {
	if strings.Contains(verb, "/") {
		return verb
	}
	return "application/json"
}

// judge tells what is wrong with a refusal.
func (r badRequest) judge(err error) error {
	var answer apierrors.APIStatus
	if !errors.As(err, &answer) {
		return fmt.Errorf("answered %w, want a Status", err)
	}
	status := answer.Status()
	encoded, _ := json.Marshal(status)
	if status.Status != metav1.StatusFailure || status.Reason != r.reason || status.Code < 400 || status.Code >= 500 || status.Message == "" {
		return fmt.Errorf("want reason %s and a message: %s", r.reason, encoded)
	}
	if strings.Contains(status.Message, "panic") || strings.Contains(status.Message, "goroutine") {
		return fmt.Errorf("the message is about the server: %s", encoded)
	}
	if r.field == "" {
		return nil
	}
	if status.Details == nil {
		return fmt.Errorf("no details: %s", encoded)
	}
	for _, cause := range status.Details.Causes {
		if cause.Field == r.field && cause.Type != "" && cause.Message != "" {
			return nil
		}
	}
	return fmt.Errorf("no cause for %s: %s", r.field, encoded)
}

const (
	merge = string(types.MergePatchType)
	apply = string(types.ApplyPatchType)
)

// object wraps fields into an object of a kind.
func object(kind, name, fields string) string {
	if fields != "" {
		fields = "," + fields
	}
	return fmt.Sprintf(`{"apiVersion":"image.alauda.io/v1","kind":%q,"metadata":{"name":%q}%s}`, kind, name, fields)
}

func specTag(fields string) string {
	return object("ImageStream", "bad", `"spec":{"tags":[{"name":"t",`+fields+`}]}`)
}

func badRequests(namespace, image string) []badRequest {
	const (
		invalid  = metav1.StatusReasonInvalid
		bad      = metav1.StatusReasonBadRequest
		notFound = metav1.StatusReasonNotFound
	)
	long := strings.Repeat("a", 256)
	requests := []badRequest{
		{"POST", "imagestreams", "", `{`, bad, ""},
		{"POST", "imagestreams", "", `[]`, bad, ""},
		{"POST", "imagestreams", "", `null`, invalid, "metadata.name"},
		{"POST", "imagestreams", "", object("Image", "x", ""), bad, ""},
		{"POST", "imagestreams", "", `{"apiVersion":"image.alauda.io/v9","kind":"ImageStream","metadata":{"name":"x"}}`, bad, ""},
		{"POST", "imagestreams", "", object("ImageStream", "", ""), invalid, "metadata.name"},
		{"POST", "imagestreams", "", object("ImageStream", "Upper", ""), invalid, "metadata.name"},
		{"POST", "imagestreams", "", object("ImageStream", "a..b", ""), invalid, "metadata.name"},
		{"POST", "imagestreams", "", object("ImageStream", "a/b", ""), invalid, "metadata.name"},
		{"POST", "imagestreams", "", object("ImageStream", "..", ""), invalid, "metadata.name"},
		{"POST", "imagestreams", "", object("ImageStream", "a%b", ""), invalid, "metadata.name"},
		{"POST", "imagestreams", "", object("ImageStream", long, ""), invalid, "metadata.name"},
		{"POST", "imagestreams", "", object("ImageStream", "bad", `"spec":"text"`), bad, ""},
		{"POST", "imagestreams", "", object("ImageStream", "bad", `"spec":{"dockerImageRepository":"a b"}`), invalid, "spec.dockerImageRepository"},
		{"POST", "imagestreams", "", object("ImageStream", "bad", `"spec":{"dockerImageRepository":"example.test/a:tag"}`), invalid, "spec.dockerImageRepository"},
		{"POST", "imagestreams", "", object("ImageStream", "bad", `"spec":{"tags":[{"name":"a"},{"name":"a"}]}`), bad, ""},
		{"POST", "imagestreams", "", object("ImageStream", "bad", `"spec":{"tags":[{"name":""}]}`), invalid, "spec.tags[].name"},
		{"POST", "imagestreams", "", object("ImageStream", "bad", `"spec":{"tags":[{"name":"a b"}]}`), invalid, "spec.tags[a b].name"},
		{"POST", "imagestreams", "", specTag(`"generation":"one"`), bad, ""},
		{"POST", "imagestreams", "", specTag(`"generation":99999999999999999999`), bad, ""},
		{"POST", "imagestreams", "", specTag(`"from":{"kind":"Pod","name":"x"}`), invalid, "spec.tags[t].from.kind"},
		{"POST", "imagestreams", "", specTag(`"from":{"kind":"DockerImage"}`), invalid, "spec.tags[t].from.name"},
		{"POST", "imagestreams", "", specTag(`"from":{"kind":"DockerImage","name":"UPPER/case"}`), invalid, "spec.tags[t].from.name"},
		{"POST", "imagestreams", "", specTag(`"from":{"kind":"DockerImage","name":"a@sha256:12"}`), invalid, "spec.tags[t].from.name"},
		{"POST", "imagestreams", "", specTag(`"from":{"kind":"DockerImage","name":"a","namespace":"b"}`), invalid, "spec.tags[t].from.namespace"},
		{"POST", "imagestreams", "", specTag(`"from":{"kind":"ImageStreamTag","name":"a:b:c"}`), invalid, "spec.tags[t].from.name"},
		{"POST", "imagestreams", "", specTag(`"from":{"kind":"ImageStreamTag","name":"absent:v1"}`), invalid, "spec.tags[t].from.name"},
		{"POST", "imagestreams", "", specTag(`"from":{"kind":"ImageStreamImage","name":"a@b@c"}`), invalid, "spec.tags[t].from.name"},
		{"POST", "imagestreams", "", specTag(`"from":{"kind":"ImageStreamTag","name":"v1"},"importPolicy":{"scheduled":true}`), invalid, "spec.tags[t].importPolicy.scheduled"},
		{"POST", "imagestreams", "", specTag(`"importPolicy":{"importMode":"Some"}`), invalid, "spec.tags[t].importPolicy.importMode"},
		{"POST", "imagestreams", "", specTag(`"referencePolicy":{"type":"Some"}`), invalid, "spec.tags[t].referencePolicy.type"},
		{"PUT", "imagestreams", "app", object("ImageStream", "app", ""), invalid, "metadata.resourceVersion"},
		{"PUT", "imagestreams", "app", object("ImageStream", "other", ""), bad, ""},
		{"PUT", "imagestreams", "absent", object("ImageStream", "absent", `"spec":{}`), notFound, ""},
		{merge, "imagestreams", "app", `{"spec":{"tags":[{"name":"a"},{"name":"a"}]}}`, invalid, ""},
		{merge, "imagestreams", "app", `{"metadata":{"resourceVersion":"1"}}`, metav1.StatusReasonConflict, ""},
		{merge, "imagestreams/status", "app", `{"status":{"tags":[{"tag":"x","items":[{"dockerImageReference":"","image":"","created":"2026-01-01T00:00:00Z","generation":1}]}]}}`, invalid, "status.tags[x].items[0].dockerImageReference"},
		{merge, "imagestreams/status", "app", `{"status":{"tags":[{"tag":"x","items":[{"dockerImageReference":"a","image":"","created":"yesterday","generation":1}]}]}}`, invalid, ""},
		{string(types.JSONPatchType), "imagestreams", "app", `[{"op":"remove","path":"/spec/none"}]`, invalid, ""},
		{"GET", "imagestreams/layers", "absent", "", notFound, ""},
		{"DELETE", "imagestreams", "absent", "", notFound, ""},

		{"POST", "imagestreamtags", "", object("ImageStreamTag", "app", `"tag":{"name":"a"}`), bad, ""},
		{"POST", "imagestreamtags", "", object("ImageStreamTag", "app:x", ""), invalid, "tag"},
		{"POST", "imagestreamtags", "", object("ImageStreamTag", "App:x", `"tag":{"name":"x"}`), invalid, "metadata.name"},
		{"POST", "imagestreamtags", "", object("ImageStreamTag", "app:-x", `"tag":{"name":"-x"}`), invalid, "metadata.name"},
		{"POST", "imagestreamtags", "", object("ImageStreamTag", "app:x", `"tag":{"name":"y"}`), invalid, "tag.name"},
		{"POST", "imagestreamtags", "", object("ImageStreamTag", "app:x", `"tag":{"name":"x","annotations":{"a":"b"}}`), invalid, "tag.annotations"},
		{"POST", "imagestreamtags", "", object("ImageStreamTag", "app:x", `"tag":{"name":"x","from":{"kind":"Pod","name":"x"}}`), invalid, "tag.from.kind"},
		{"GET", "imagestreamtags", "app", "", bad, ""},
		{"GET", "imagestreamtags", "app:absent", "", notFound, ""},
		{"GET", "imagestreamtags", "absent:v1", "", notFound, ""},
		{"PUT", "imagestreamtags", "app:absent", object("ImageStreamTag", "app:absent", ""), bad, ""},
		{merge, "imagestreamtags", "app:v1", `{"metadata":{"labels":{"a":"b"}}}`, bad, ""},
		{merge, "imagestreamtags", "app:v1", `{"metadata":{"labels":{"a":"b"}},"tag":{"name":"v1"}}`, invalid, "metadata"},
		{apply, "imagestreamtags", "app:x", object("ImageStreamTag", "app:x", `"tag":{"name":"x","nonsense":1}`), bad, ""},
		{apply, "imagestreams", "app", object("ImageStream", "app", `"spec":{"nonsense":1}`), bad, ""},
		{"DELETE", "imagestreamtags", "app:absent", "", notFound, ""},

		{"POST", "imagetags", "", object("ImageTag", "app", `"spec":{"name":"a"}`), bad, ""},
		{"POST", "imagetags", "", object("ImageTag", "app:x", ""), invalid, "spec"},
		{"POST", "imagetags", "", object("ImageTag", "app:x", `"spec":{"name":"y"}`), invalid, "spec.name"},
		{"POST", "imagetags", "", object("ImageTag", "app:x", `"spec":{"name":"x","from":{"kind":"DockerImage","name":"//"}}`), invalid, "spec.from.name"},
		{merge, "imagetags", "app:v1", `{"metadata":{"annotations":{"a":"b"}}}`, invalid, "metadata"},
		{merge, "imagetags", "app:v1", `{"status":{"items":null}}`, invalid, "status"},
		{"GET", "imagetags", "app:absent", "", notFound, ""},
		{"DELETE", "imagetags", "app:absent", "", notFound, ""},

		{"GET", "imagestreamimages", "app", "", bad, ""},
		{"GET", "imagestreamimages", "app@", "", bad, ""},
		{"GET", "imagestreamimages", "app@ffff", "", notFound, ""},
		{"GET", "imagestreamimages", "a@b@c", "", bad, ""},

		{"POST", "imagestreammappings", "", object("ImageStreamMapping", "absent", `"tag":"t","image":{"metadata":{"name":"`+image+`"}}`), notFound, ""},
		{"POST", "imagestreammappings", "", object("ImageStreamMapping", "app", `"tag":"","image":{"metadata":{"name":"`+image+`"}}`), invalid, "tag"},
		{"POST", "imagestreammappings", "", object("ImageStreamMapping", "app", `"tag":"a b","image":{"metadata":{"name":"`+image+`"}}`), invalid, "tag"},
		{"POST", "imagestreammappings", "", object("ImageStreamMapping", "app", `"tag":"t","image":{"metadata":{"name":""}}`), invalid, "image.metadata.name"},
		{"POST", "imagestreammappings", "", object("ImageStreamMapping", "app", `"tag":"t","image":{"metadata":{"name":"a/b"}}`), invalid, "image.metadata.name"},
		{"POST", "imagestreammappings", "", object("ImageStreamMapping", "app", `"tag":"t","image":{"metadata":{"name":"`+image+`"},"dockerImageReference":":"}`), invalid, "image.dockerImageReference"},
		{"POST", "imagestreammappings", "", object("ImageStreamMapping", "app", `"tag":"t","image":{"metadata":{"name":"`+image+`"},"dockerImageManifest":"{}"}`), invalid, "image.dockerImageManifest"},
		{"POST", "imagestreammappings", "", object("ImageStreamMapping", "app", `"tag":"t","image":{"metadata":{"name":"`+image+`"},"dockerImageLayers":[{"name":"x","size":99999999999999999999,"mediaType":"y"}]}`), bad, ""},
		{"POST", "imagestreammappings", "", object("ImageStreamMapping", "app", `"tag":"t","image":{"metadata":{"name":"`+image+`"},"dockerImageMetadata":"text"}`), bad, ""},

		{apply, "images", image, object("Image", image, `"nonsense":1`), bad, ""},
		{"POST", "images", "", object("Image", "x", ""), invalid, "dockerImageReference"},
		{"POST", "images", "", object("Image", "x", `"dockerImageReference":"a b"`), invalid, "dockerImageReference"},
		{"POST", "images", "", object("Image", "x", `"dockerImageReference":"a","dockerImageManifests":[{"digest":"d","mediaType":"m","manifestSize":-1,"architecture":"","os":""}]`), invalid, "dockerImageManifests[0].digest"},
		{"POST", "images", "", object("Image", "x", `"dockerImageReference":"a","dockerImageManifests":[{"digest":"`+image+`","mediaType":"a/b","manifestSize":1,"architecture":"x","os":"y"}],"dockerImageLayers":[{"name":"x","size":1,"mediaType":"y"}]`), invalid, "dockerImageLayers"},
		{"POST", "images", "", object("Image", digestOf("other"), `"dockerImageReference":"a","dockerImageManifest":"{}"`), invalid, "dockerImageManifest"},
		{"POST", "images", "", object("Image", "x", `"dockerImageReference":"a","dockerImageMetadata":{"apiVersion":"v9","kind":"DockerImage"}`), bad, ""},
		{"POST", "images", "", `{"apiVersion":"image.alauda.io/v1","kind":"Image","metadata":{"name":"x","annotations":{"image.alauda.io/lastReferencedTime":"now"}},"dockerImageReference":"a"}`, invalid, "metadata.annotations[image.alauda.io/lastReferencedTime]"},
		{"PUT", "images", image, object("Image", image, `"dockerImageReference":"a"`), invalid, "metadata.resourceVersion"},
		{merge, "images", image, `{"signatures":[{"metadata":{"name":"x"},"type":"t","content":"eA=="}]}`, invalid, "signatures[0].metadata.name"},
		{merge, "images", image, `{"signatures":[{"metadata":{"name":"` + image + `@x"},"type":"t","content":"eA==","conditions":[{"type":"Trusted","status":"True"}]}]}`, invalid, "signatures[0].conditions"},
		{"GET", "images", digestOf("absent"), "", notFound, ""},

		{"POST", "imagesignatures", "", object("ImageSignature", image, `"type":"t","content":"eA=="`), invalid, "metadata.name"},
		{"POST", "imagesignatures", "", object("ImageSignature", image+"@x", `"content":"eA=="`), invalid, "type"},
		{"POST", "imagesignatures", "", object("ImageSignature", image+"@x", `"type":"t"`), invalid, "content"},
		{"POST", "imagesignatures", "", object("ImageSignature", image+"@x", `"type":"t","content":"no base64"`), bad, ""},
		{"POST", "imagesignatures", "", object("ImageSignature", digestOf("absent")+"@x", `"type":"t","content":"eA=="`), notFound, ""},
		{"DELETE", "imagesignatures", image, "", bad, ""},
		{"DELETE", "imagesignatures", image + "@absent", "", notFound, ""},
	}
	return requests
}

//go:build component

package apiserver

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// target is a kind that takes bodies, with a field of each form that its kind has: text, a list or object, a
// number, and whatever JSON the field passes on.
type target struct {
	kind, resource, name              string
	text, nested, number, passThrough string
	// verbs are POST, PUT and PATCH as far as the kind has them.
	verbs string
}

func targets(image string) []target {
	return []target{
		{kind: "Image", resource: "images", name: image, text: "dockerImageReference", nested: "dockerImageLayers", number: `"dockerImageLayers":[{"name":"x","mediaType":"y","size":%s}]`, passThrough: "dockerImageMetadata", verbs: "POST PUT PATCH"},
		{kind: "ImageSignature", resource: "imagesignatures", name: image + "@hostile", text: "type", nested: "conditions", number: `"issuedBy":{"organization":%s}`, passThrough: "signedClaims", verbs: "POST"},
		{kind: "ImageStream", resource: "imagestreams", name: "app", text: "spec.dockerImageRepository", nested: "spec.tags", number: `"spec":{"tags":[{"name":"a","generation":%s}]}`, passThrough: "spec", verbs: "POST PUT PATCH"},
		{kind: "ImageStream", resource: "imagestreams/status", name: "app", text: "status.dockerImageRepository", nested: "status.tags", number: `"status":{"tags":[{"tag":"a","items":[{"generation":%s}]}]}`, passThrough: "status", verbs: "PUT PATCH"},
		{kind: "ImageStreamTag", resource: "imagestreamtags", name: "app:v1", text: "tag.name", nested: "tag.annotations", number: `"tag":{"name":"v1","generation":%s}`, passThrough: "tag", verbs: "POST PUT PATCH"},
		{kind: "ImageTag", resource: "imagetags", name: "app:v1", text: "spec.name", nested: "spec.annotations", number: `"spec":{"name":"v1","generation":%s}`, passThrough: "spec", verbs: "POST PUT PATCH"},
		{kind: "ImageStreamMapping", resource: "imagestreammappings", name: "app", text: "tag", nested: "image", number: `"tag":"v1","image":{"dockerImageLayers":[{"size":%s}]}`, passThrough: "image", verbs: "POST"},
		{kind: "ImageStreamImport", resource: "imagestreamimports", name: "app", text: "spec.repository.from.name", nested: "spec.images", number: `"spec":{"import":%s}`, passThrough: "spec", verbs: "POST"},
	}
}

// field wraps a value in the objects of a path: a.b becomes {"a":{"b":value}} without the outer braces.
func field(path, value string) string {
	head, rest, nested := strings.Cut(path, ".")
	if !nested {
		return fmt.Sprintf("%q:%s", head, value)
	}
	return fmt.Sprintf("%q:{%s}", head, field(rest, value))
}

// bodies are the hostile documents for one kind, by what is wrong with them. Those that begin with "wrong" must
// be refused; of the others it is enough that the answer is one for clients.
func (t target) bodies() map[string]string {
	deep := strings.Repeat(`{"a":`, 12_000) + "1" + strings.Repeat("}", 12_000)
	open := strings.Repeat("[", 100_000)
	full := func(fields string) string { return object(t.kind, t.name, fields) }
	all := map[string]string{
		"wrong: no JSON":                "\x00\x01\x02",
		"wrong: cut off":                full("")[:20],
		"wrong: never closed":           open,
		"wrong: a list":                 "[" + full("") + "]",
		"wrong: a text":                 `"` + strings.Repeat("x", 1<<20) + `"`,
		"wrong: a number":               "1e999999999",
		"wrong: NaN":                    full(field(t.text, "NaN")),
		"wrong: metadata is a list":     `{"apiVersion":"image.alauda.io/v1","kind":"` + t.kind + `","metadata":[]}`,
		"wrong: name is a number":       `{"apiVersion":"image.alauda.io/v1","kind":"` + t.kind + `","metadata":{"name":7}}`,
		"wrong: labels are numbers":     `{"apiVersion":"image.alauda.io/v1","kind":"` + t.kind + `","metadata":{"name":"` + t.name + `","labels":{"a":1}}}`,
		"wrong: kind is an object":      `{"apiVersion":"image.alauda.io/v1","kind":{},"metadata":{}}`,
		"wrong: text is an object":      full(field(t.text, `{"a":1}`)),
		"wrong: list or map is a text":  full(field(t.nested, `"text"`)),
		"wrong: number is a list":       full(fmt.Sprintf(t.number, "[]")),
		"wrong: number overflows":       full(fmt.Sprintf(t.number, "1"+strings.Repeat("0", 400))),
		"wrong: pass-through is a text": full(field(t.passThrough, `"text"`)),
		"wrong: deep metadata":          `{"apiVersion":"image.alauda.io/v1","kind":"` + t.kind + `","metadata":` + deep + `}`,
		"wrong: body over the limit":    full(field("padding", `"`+strings.Repeat("x", 9<<20)+`"`)),
		"deep unknown field":            full(field("nonsense", deep)),
		"deep pass-through":             full(field(t.passThrough, deep)),
		"invalid UTF-8":                 full(field(t.text, "\"\xff\xfe\"")),
		"escaped zero":                  full(field(t.text, `"a\u0000b"`)),
		"lone surrogate":                full(field(t.text, `"\ud800"`)),
		"text of a megabyte":            full(field(t.text, `"`+strings.Repeat("x", 1<<20)+`"`)),
		"names twice":                   full(field(t.text, `"a"`) + "," + field(t.text, `"b"`)),
		"many labels":                   `{"apiVersion":"image.alauda.io/v1","kind":"` + t.kind + `","metadata":{"name":"` + t.name + `","labels":{` + manyPairs(50_000) + `}}}`,
		"nulls":                         full(field(t.text, "null") + "," + field(t.nested, "null")),
	}
	return all
}

func manyPairs(count int) string {
	var pairs strings.Builder
	for i := range count {
		if i > 0 {
			pairs.WriteByte(',')
		}
		fmt.Fprintf(&pairs, `"a b%d":"c d"`, i)
	}
	return pairs.String()
}

// testHostileJSON sends broken, deep, large and misleading documents to every kind. Every refusal is a Status of
// the class for mistakes of clients, nothing is answered with 5xx, and the server still works afterwards.
func testHostileJSON(t *testing.T, e *environment) {
	namespace := e.newNamespace(t)
	api := e.images.ImageV1()
	if _, err := api.ImageStreams(namespace).Create(t.Context(), stream("app"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := api.ImageStreamMappings(namespace).Create(t.Context(), mapping("app", "v1", namespace), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, target := range targets(digestOf(namespace)) {
		for what, body := range target.bodies() {
			for _, verb := range strings.Fields(target.verbs) {
				kinds := []string{verb}
				if verb == "PATCH" {
					kinds = []string{merge, apply, string(types.StrategicMergePatchType), string(types.JSONPatchType)}
				}
				for _, kind := range kinds {
					e.hostile(t, namespace, target, kind, what, body)
				}
			}
		}
	}
	if _, err := api.ImageStreamTags(namespace).Get(t.Context(), "app:v1", metav1.GetOptions{}); err != nil {
		t.Errorf("after all that: %v", err)
	}
}

func (e *environment) hostile(t *testing.T, namespace string, target target, verb, what, body string) {
	t.Helper()
	client := e.images.ImageV1().RESTClient()
	request := client.Verb(verb)
	if strings.Contains(verb, "/") {
		request = client.Patch(types.PatchType(verb)).Param("fieldManager", "hostile")
	}
	resource, sub, _ := strings.Cut(target.resource, "/")
	if strings.HasPrefix(resource, "imagestream") || resource == "imagetags" {
		request = request.Namespace(namespace)
	}
	request = request.Resource(resource)
	if verb != http.MethodPost {
		request = request.Name(target.name)
	}
	if sub != "" {
		request = request.SubResource(sub)
	}
	// Nothing of this may stay, whatever it is taken for.
	request = request.Param("dryRun", metav1.DryRunAll)
	result := request.SetHeader("Content-Type", contentType(verb)).Body([]byte(body)).Do(t.Context())
	code := 0
	err := result.StatusCode(&code).Error()
	where := fmt.Sprintf("%s %s: %s", verb, target.resource, what)
	if err == nil {
		// Merging a document that only lacks sense is a matter of the patch's rules.
		if strings.HasPrefix(what, "wrong") && !strings.Contains(verb, "/") {
			t.Errorf("%s was accepted with %d", where, code)
		}
		return
	}
	status, ok := err.(apierrors.APIStatus) //nolint:errorlint // the client returns it as it is
	if !ok {
		t.Errorf("%s: no Status: %.300v", where, err)
		return
	}
	answer := status.Status()
	if answer.Code < 400 || answer.Code >= 500 || answer.Reason == "" || answer.Reason == metav1.StatusReasonUnknown || answer.Message == "" ||
		strings.Contains(answer.Message, "panic") || strings.Contains(answer.Message, "goroutine ") {
		t.Errorf("%s: %d %s %.300s", where, answer.Code, answer.Reason, answer.Message)
	}
	// That a document is no list of operations is said without causes.
	if answer.Reason == metav1.StatusReasonInvalid && verb != string(types.JSONPatchType) && (answer.Details == nil || len(answer.Details.Causes) == 0) {
		t.Errorf("%s: no causes: %d %.300s", where, answer.Code, answer.Message)
	}
}

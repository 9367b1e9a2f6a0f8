package roots

import (
	"fmt"
	"strings"
	"testing"
)

// read makes a document whose kind Widget has the properties.
func read(t *testing.T, properties string, more ...string) (*document, *node) {
	t.Helper()
	text := fmt.Sprintf(`{"openapi":"3.0.0","info":{"title":[1,{"a":[]}]},"paths":{"/apis":{"get":{}}},"components":{"securitySchemes":{},"schemas":{
		"com.example.v1.Widget":{"type":"object","properties":{"metadata":{"$ref":"#/components/schemas/Meta"},%s},
		"x-kubernetes-group-version-kind":[{"group":"example.com","version":"v1","kind":"Widget"}]},
		"Meta":{"type":"object","properties":{"containers":{"type":"array","items":{"properties":{"image":{"type":"string"}}}}}}%s}}}`,
		properties, strings.Join(append([]string{""}, more...), ","))
	d, err := readDocument(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	root := d.kind("example.com", "v1", "Widget")
	if root == nil {
		t.Fatal("the kind is not found")
	}
	return d, root
}

func object(properties string) string { return `{"type":"object","properties":{` + properties + `}}` }

func list(items string) string { return `{"type":"array","items":` + items + `}` }

const (
	text      = `{"type":"string","description":"a text"}`
	freeForm  = `{"type":"object","x-kubernetes-preserve-unknown-fields":true}`
	container = `"image":` + text + `,"name":` + text
)

// Behaviour 22.
func TestSchemasThatHoldContainers(t *testing.T) {
	podSpec := object(`"containers":` + list(object(container)))
	tests := []struct {
		name, properties string
		more             []string
		images, free     string
	}{
		{name: "a Pod spec", properties: `"spec":` + podSpec, images: ".spec.containers"},
		{name: "a Pod template", properties: `"spec":` + object(`"template":`+object(`"spec":`+podSpec)), images: ".spec.template.spec.containers"},
		{name: "in a list", properties: `"spec":` + object(`"replicaSpecs":`+list(podSpec)), images: ".spec.replicaSpecs[].containers"},
		{name: "in a map", properties: `"spec":` + object(`"replicaSpecs":{"type":"object","additionalProperties":`+podSpec+`}`), images: ".spec.replicaSpecs[].containers"},
		{name: "init containers alone", properties: `"spec":` + object(`"initContainers":`+list(object(container))), images: ".spec.initContainers"},
		{name: "called alike", properties: `"spec":` + object(`"extraSidecarContainers":`+list(object(container))), images: ".spec.extraSidecarContainers"},
		{name: "steps", properties: `"spec":` + object(`"steps":`+list(object(container))), images: ".spec.steps"},
		{name: "a map of containers", properties: `"spec":` + object(`"containers":{"additionalProperties":`+object(container)+`}`), images: ".spec.containers"},
		{name: "of free form", properties: `"spec":` + object(`"containers":`+list(freeForm)), images: ".spec.containers"},
		{name: "one container", properties: `"spec":` + object(`"main":`+object(container+`,"command":`+list(text)+`,"env":`+list(text))), images: ".spec.main"},
		{name: "by reference", properties: `"spec":{"allOf":[{"$ref":"#/components/schemas/Spec"}]}`, more: []string{`"Spec":` + podSpec}, images: ".spec.containers"},
		{name: "behind a circle", properties: `"spec":{"$ref":"#/components/schemas/Loop"}`, images: ".spec.next.pod.containers",
			more: []string{`"Loop":` + object(`"again":{"$ref":"#/components/schemas/Loop"},"next":{"$ref":"#/components/schemas/Other"}`),
				`"Other":` + object(`"back":{"$ref":"#/components/schemas/Loop"},"pod":`+podSpec)}},
		{name: "one of several forms", properties: `"spec":{"oneOf":[` + text + `,` + podSpec + `]}`, images: ".spec.containers"},
		{name: "in the status", properties: `"status":` + podSpec, images: ".status.containers"},
		{name: "a template of free form", properties: `"spec":` + object(`"template":`+freeForm), images: ".spec.template, which is of free form"},
		{name: "a spec of free form", properties: `"spec":` + freeForm, images: ".spec, which is of free form"},
		{name: "whole objects", properties: `"spec":` + object(`"resources":`+list(`{"type":"object","x-kubernetes-embedded-resource":true}`)), images: ".spec.resources, which is of free form"},
		{name: "free form elsewhere", properties: `"spec":` + object(`"values":`+freeForm), free: ".spec.values"},
		{name: "free form in the status", properties: `"spec":` + object(`"a":`+text) + `,"status":` + object(`"values":`+freeForm)},
		{name: "an image alone", properties: `"spec":` + object(`"image":`+text+`,"replicas":{"type":"integer"}`), images: ".spec.image"},
		{name: "an image under a longer name", properties: `"spec":` + object(`"kafka":`+object(`"proxyImage":`+text)), images: ".spec.kafka.proxyImage"},
		{name: "the name of an image", properties: `"spec":` + object(`"imageName":`+text), images: ".spec.imageName"},
		{name: "a list of images", properties: `"spec":` + object(`"images":`+list(text)), images: ".spec.images"},
		{name: "images by their names", properties: `"spec":` + object(`"images":{"additionalProperties":`+text+`}`), images: ".spec.images"},
		{name: "images in objects", properties: `"spec":` + object(`"catalog":`+list(object(`"major":{"type":"integer"},"image":`+text))), images: ".spec.catalog[].image"},
		{name: "an image in parts", properties: `"spec":` + object(`"image":`+object(`"repository":`+text+`,"tag":`+text)), images: ".spec.image"},
		{name: "without a spec", properties: `"image":` + text, images: ".image"},
		{name: "an image of a disk", properties: `"spec":` + object(`"image":`+object(`"url":`+text+`,"checksum":`+text))},
		{name: "an image in the status", properties: `"status":` + object(`"image":`+text)},
		{name: "an image that is a number", properties: `"spec":` + object(`"image":{"type":"integer"}`)},
		{name: "a secret for images", properties: `"spec":` + object(`"imagePullSecrets":`+list(object(`"name":`+text))+`,"imagePullPolicy":`+text)},
		{name: "containers of measurements", properties: `"spec":` + object(`"containers":`+list(object(`"name":`+text+`,"usage":`+text)))},
		{name: "a reference to nowhere", properties: `"spec":{"$ref":"#/components/schemas/Missing"}`},
		{name: "a circle of nothing", properties: `"spec":{"$ref":"#/components/schemas/Loop"}`, more: []string{`"Loop":{"allOf":[{"$ref":"#/components/schemas/Loop"}]}`}},
		{name: "odd values", properties: `"spec":{"type":["object"],"properties":{"a":{"additionalProperties":true,"x-kubernetes-preserve-unknown-fields":"yes"}}}`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d, root := read(t, test.properties, test.more...)
			if got := d.examine(root); got.images != test.images || got.images == "" && got.free != test.free {
				t.Errorf("images %q, free %q; want %q, %q", got.images, got.free, test.images, test.free)
			}
		})
	}
}

func TestAKindWithoutDeclaredFieldsCounts(t *testing.T) {
	d := &document{schemas: map[string]*node{}}
	if got := d.examine(&node{Preserve: true}); got.images == "" {
		t.Error("a kind of free form is none")
	}
	if got := d.examine(&node{Type: "object"}); got != (verdict{}) {
		t.Errorf("a kind without fields: %+v", got)
	}
}

func TestDocumentsAreBounded(t *testing.T) {
	text := `{"components":{"schemas":{"A":{"description":"` + strings.Repeat("x", maxDocument) + `"}}}}`
	if _, err := readDocument(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("%v", err)
	}
	for _, broken := range []string{"", "[]", `{"components":[]}`, `{"components":{"schemas":{"A":`, `{"components":{"schemas":{"A":[]}}}`} {
		if _, err := readDocument(strings.NewReader(broken)); err == nil {
			t.Errorf("%q is read", broken)
		}
	}
}

func FuzzSchemas(f *testing.F) {
	f.Add(`{"components":{"schemas":{"A":{"$ref":"A","x-kubernetes-group-version-kind":[{"group":"g","version":"v","kind":"K"}]}}}}`)
	f.Add(`{"components":{"schemas":{"A":{"properties":{"containers":{"items":{"properties":{"image":{"type":"string"}}}}},"x-kubernetes-group-version-kind":[{"group":"g","version":"v","kind":"K"}]}}}}`)
	f.Add(`{"components":{"schemas":{"A":null,"B":{"allOf":[null],"items":null,"x-kubernetes-group-version-kind":[{"group":"g","version":"v","kind":"K"}]}}}}`)
	f.Fuzz(func(t *testing.T, text string) {
		d, err := readDocument(strings.NewReader(text))
		if err != nil {
			return
		}
		if root := d.kind("g", "v", "K"); root != nil {
			d.examine(root)
		}
	})
}

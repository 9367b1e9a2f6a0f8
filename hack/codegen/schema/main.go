// Command schema prints the schemas of all API types as one OpenAPI v2
// document, for the generator of apply configurations.
//
// In: the generated definitions of the API server, and those of the operator's
// types beside this file. Out: JSON on standard output. It serves nothing and
// reads nothing else.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"strings"

	"k8s.io/kube-openapi/pkg/common"
	"k8s.io/kube-openapi/pkg/util"
	"k8s.io/kube-openapi/pkg/validation/spec"

	operator "image.alauda.io/registry/hack/codegen/openapi"
	server "image.alauda.io/registry/pkg/imageapiserver/openapi"
)

func main() {
	if err := write(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "schema:", err)
		os.Exit(1)
	}
}

func write(out io.Writer) error {
	definitions := server.GetOpenAPIDefinitions(reference)
	maps.Copy(definitions, operator.GetOpenAPIDefinitions(reference))
	document := spec.Swagger{SwaggerProps: spec.SwaggerProps{
		Swagger:     "2.0",
		Info:        &spec.Info{InfoProps: spec.InfoProps{Title: "types", Version: "unversioned"}},
		Definitions: make(spec.Definitions, len(definitions)),
	}}
	for name, definition := range definitions {
		document.Definitions[modelName(name)] = versionTwo(definition.Schema)
	}
	if err := json.NewEncoder(out).Encode(&document); err != nil {
		return fmt.Errorf("writing the document: %w", err)
	}
	return nil
}

func reference(name string) spec.Ref {
	return spec.MustCreateRef("#/definitions/" + modelName(name))
}

// modelName is the name of a type in the document. Types of packages that were
// not generated together come with their Go name instead.
func modelName(name string) string {
	if strings.Contains(name, "/") {
		return util.ToRESTFriendlyName(name)
	}
	return name
}

// versionTwo is the OpenAPI v2 form of a schema. Types that serialise as one of
// several JSON types carry it beside their v3 form.
func versionTwo(schema spec.Schema) spec.Schema {
	if embedded, ok := schema.Extensions[common.ExtensionV2Schema].(spec.Schema); ok {
		return embedded
	}
	return schema
}

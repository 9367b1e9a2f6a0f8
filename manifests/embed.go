// Package manifests holds every object that is applied to a cluster, as YAML.
//
// The same files serve two readers: kustomize applies crd/ and operator/ when the operator is installed,
// and the operator itself embeds operands/ and completes those objects from Config/cluster at run time.
// Nothing that ends up in a cluster is written as Go literals elsewhere, so a rule, a probe or a mount has
// exactly one place.
//
// In: nothing. Out: the raw files of one operand, in the order of their names. The package decodes nothing
// and knows nothing about Config; that is the work of pkg/operator/render.
package manifests

import (
	"embed"
	"fmt"
	"io/fs"
	"path"
)

// Operands are the folders below operands/.
const (
	ImageRegistry  = "image-registry"
	ImageAPIServer = "image-api-server"
	NodeCA         = "node-ca"
	ImagePruner    = "image-pruner"
	Shared         = "shared"
)

// Files holds operands/ and operator/.
//
//go:embed operands operator
var Files embed.FS

// Operand returns one file of one operand, for example Operand(ImageRegistry, "deployment.yaml").
func Operand(operand, file string) ([]byte, error) {
	data, err := fs.ReadFile(Files, path.Join("operands", operand, file))
	if err != nil {
		return nil, fmt.Errorf("embedded manifest: %w", err)
	}
	return data, nil
}

// OperandFiles lists the YAML files of one operand, sorted by name.
func OperandFiles(operand string) ([]string, error) {
	entries, err := fs.ReadDir(Files, path.Join("operands", operand))
	if err != nil {
		return nil, fmt.Errorf("embedded manifests of %s: %w", operand, err)
	}
	var names []string
	for _, entry := range entries {
		if path.Ext(entry.Name()) == ".yaml" {
			names = append(names, entry.Name())
		}
	}
	return names, nil
}

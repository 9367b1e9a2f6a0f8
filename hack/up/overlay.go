package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// operandVariables maps the variables of the operator's Deployment that name images to the images.
var operandVariables = [][2]string{
	{"OPERATOR_IMAGE", "cluster-image-registry-operator"},
	{"RELATED_IMAGE_REGISTRY", "image-registry"},
	{"RELATED_IMAGE_API_SERVER", "image-api-server"},
	{"RELATED_IMAGE_NODE_CA", "node-ca"},
	{"RELATED_IMAGE_PRUNER", "pruner"},
}

// writeOverlay writes a kustomization that takes every image from registry, and returns its folder.
func writeOverlay(root, registry string) (string, error) {
	dir := filepath.Join(root, "_output", "install")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	return dir, os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(overlay(strings.TrimSuffix(registry, "/"))), 0o644)
}

func overlay(registry string) string {
	image := func(name string) string { return registry + "/" + name + ":dev" }
	var b strings.Builder
	b.WriteString("apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n")
	b.WriteString("resources: [../../manifests/default]\npatches:\n- patch: |\n")
	b.WriteString("    apiVersion: apps/v1\n    kind: Deployment\n")
	b.WriteString("    metadata: {name: cluster-image-registry-operator, namespace: image-registry-system}\n")
	b.WriteString("    spec:\n      template:\n        spec:\n          containers:\n")
	b.WriteString("          - name: operator\n")
	fmt.Fprintf(&b, "            image: %s\n            env:\n", image("cluster-image-registry-operator"))
	for _, v := range operandVariables {
		fmt.Fprintf(&b, "            - {name: %s, value: %q}\n", v[0], image(v[1]))
	}
	return b.String()
}

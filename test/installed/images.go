package installed

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// Binaries are the images of the product.
var Binaries = []string{"cluster-image-registry-operator", "image-registry", "image-api-server", "node-ca", "pruner"}

// Build builds the product's images of a checkout under localhost/<name>:<tag> and imports them on every node.
func (c *Cluster) Build(t *testing.T, checkout, tag string) {
	t.Helper()
	out := filepath.Join(c.Root, "_output", "upgrade", tag)
	c.Shell(t, fmt.Sprintf("cd %s && go run ./hack/images build --only %s --platforms %s --tag %s --output %s",
		checkout, strings.Join(Binaries, ","), Platform(), tag, out))
	for _, name := range Binaries {
		c.Shell(t, "devcluster load "+filepath.Join(out, "images", name+"-linux-"+runtime.GOARCH+".tar"))
	}
}

// Image is the name of an image that Build made, or of one that `make up` made with the tag dev.
func Image(name, tag string) string { return "localhost/" + name + ":" + tag }

// Operands are the images of the workloads of a healthy installation of one tag.
func Operands(tag string) map[string]string {
	return map[string]string{
		"deployment/cluster-image-registry-operator": Image("cluster-image-registry-operator", tag),
		"deployment/image-registry":                  Image("image-registry", tag),
		"deployment/image-api-server":                Image("image-api-server", tag),
		"daemonset/node-ca":                          Image("node-ca", tag),
	}
}

// Overlay writes a kustomization over the manifests of a checkout with the images of a tag, and returns its
// folder. The variables have had these names since the first version.
func Overlay(t *testing.T, checkout, tag string) string {
	t.Helper()
	dir := filepath.Join(checkout, "_output", "upgrade", "overlay-"+tag)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	var patch strings.Builder
	patch.WriteString("apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [../../../manifests/default]\npatches:\n- patch: |\n")
	patch.WriteString("    apiVersion: apps/v1\n    kind: Deployment\n    metadata: {name: cluster-image-registry-operator, namespace: " + Namespace + "}\n")
	fmt.Fprintf(&patch, "    spec: {template: {spec: {containers: [{name: operator, image: %q, env: [", Image(Binaries[0], tag))
	for i, variable := range []string{"OPERATOR_IMAGE", "RELATED_IMAGE_REGISTRY", "RELATED_IMAGE_API_SERVER", "RELATED_IMAGE_NODE_CA", "RELATED_IMAGE_PRUNER"} {
		fmt.Fprintf(&patch, "{name: %s, value: %q}, ", variable, Image(Binaries[i], tag))
	}
	patch.WriteString("]}]}}}\n")
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(patch.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

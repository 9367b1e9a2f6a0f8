//go:build olm

package olm

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"text/template"

	"sigs.k8s.io/yaml"

	"image.alauda.io/registry/test/installed"
	"image.alauda.io/registry/test/nodeimages"
)

const (
	managerModule    = "github.com/operator-framework/operator-lifecycle-manager"
	managerNamespace = "operator-lifecycle-manager"
	catalogNamespace = "cpaas-system"
)

// managerTemplates are the parts of the lifecycle manager's own chart that run it. What is left out serves
// consoles and Prometheus, or asks for catalogs of the internet.
var managerTemplates = []string{"00-namespace", "02-olm-operator.serviceaccount", "03-olmconfig", "07-olm-operator.deployment", "08-catalog-operator.deployment"}

// manager is the lifecycle manager on the cluster.
type manager struct {
	cluster     *installed.Cluster
	definitions string
	objects     string
}

// installManager runs the lifecycle manager of hack/olm with the definitions, rights and Deployments that
// its module brings. It goes away with the test.
func installManager(t *testing.T, cluster *installed.Cluster) *manager {
	t.Helper()
	module := cluster.Shell(t, "cd hack/olm && GOWORK=off go list -m -f '{{.Dir}}' "+managerModule)
	m := &manager{cluster: cluster, definitions: filepath.Join(module, "deploy", "chart", "crds"), objects: filepath.Join(t.TempDir(), "manager.yaml")}
	image := nodeimages.LoadPinned(t, "lifecycle-manager", programs(t, cluster.Root)...)
	if err := os.WriteFile(m.objects, render(t, filepath.Join(module, "deploy", "chart"), image), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.remove(t) })
	cluster.Shell(t, "kubectl create namespace "+catalogNamespace)
	cluster.Shell(t, "kubectl apply --server-side -f "+m.definitions)
	cluster.Shell(t, "kubectl wait --for=condition=Established -f "+m.definitions+" --timeout=60s")
	cluster.Shell(t, "kubectl apply -f "+m.objects)
	for _, name := range []string{"olm-operator", "catalog-operator"} {
		cluster.Shell(t, "kubectl -n "+managerNamespace+" rollout status deployment/"+name+" --timeout=300s")
	}
	return m
}

// remove deletes what the manager watches while it still runs, because it holds finalizers, then the manager.
func (m *manager) remove(t *testing.T) {
	for _, command := range []string{
		"kubectl delete subscriptions.operators.coreos.com,clusterserviceversions.operators.coreos.com,catalogsources.operators.coreos.com -A --all --timeout=120s",
		"kubectl delete -f " + m.objects + " --ignore-not-found --timeout=120s",
		"kubectl delete -f " + m.definitions + " --ignore-not-found --timeout=120s",
		"kubectl delete namespace " + catalogNamespace + " --ignore-not-found --timeout=120s",
	} {
		if out, err := m.cluster.TryShell(command); err != nil {
			t.Errorf("$ %s\n%s\n%v", command, out, err)
		}
	}
}

// programs are the files of an image in the place of the published one, and of that of opm.
func programs(t *testing.T, root string) []nodeimages.File {
	t.Helper()
	var files []nodeimages.File
	for path, name := range map[string]string{
		"/bin/olm": "olm", "/bin/catalog": "catalog", "/bin/opm": "opm", "/bin/cp": "cp", "/bin/cpb": "cpb",
		"/bin/copy-content": "copy-content", "/bin/grpc_health_probe": "grpc-health-probe",
	} {
		data, err := os.ReadFile(filepath.Join(root, "_output", "bin", "olm", name))
		if err != nil {
			t.Fatalf("the lifecycle manager is not built, run make test-olm: %v", err)
		}
		files = append(files, nodeimages.File{Path: path, Data: data, Mode: 0o755})
	}
	return files
}

// render fills the templates of the chart with its own values and the image.
func render(t *testing.T, chart, image string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(chart, "values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var values map[string]any
	if err := yaml.Unmarshal(data, &values); err != nil {
		t.Fatal(err)
	}
	values["namespace"], values["catalog_namespace"] = managerNamespace, catalogNamespace
	for _, part := range []string{"olm", "catalog"} {
		values[part].(map[string]any)["image"] = map[string]any{"ref": image, "pullPolicy": "IfNotPresent"}
	}
	catalog := values["catalog"].(map[string]any)
	catalog["opmImageArgs"], catalog["commandArgs"] = "--opmImage="+image, "--configmapServerImage="+image
	var out bytes.Buffer
	for _, name := range managerTemplates {
		file := filepath.Join(chart, "templates", "0000_50_olm_"+name+".yaml")
		parsed, err := template.New(filepath.Base(file)).Funcs(template.FuncMap{"toYaml": toYAML, "indent": indent}).ParseFiles(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := parsed.Execute(&out, map[string]any{"Values": values}); err != nil {
			t.Fatal(err)
		}
		out.WriteString("\n---\n")
	}
	return out.Bytes()
}

// toYAML and indent are the two functions that those templates use.
func toYAML(value any) (string, error) {
	data, err := yaml.Marshal(value)
	return strings.TrimSuffix(string(data), "\n"), err
}

func indent(width int, text string) string {
	margin := strings.Repeat(" ", width)
	return margin + strings.ReplaceAll(text, "\n", "\n"+margin)
}

// state is what a person would look at when the manager does not come along.
func (m *manager) state() string {
	var out strings.Builder
	for _, command := range []string{
		"kubectl -n " + installed.Namespace + " get subscriptions.operators.coreos.com,installplans,csv,pods -o wide",
		"kubectl -n " + installed.Namespace + " get subscriptions.operators.coreos.com -o yaml",
		"kubectl -n " + installed.Namespace + " get csv -o jsonpath='{range .items[*]}{.metadata.name} {.status.phase} {.status.message}{\"\\n\"}{end}'",
		"kubectl -n " + installed.Namespace + " get configs.imageregistry.operator.alauda.io -o yaml",
		"kubectl -n " + catalogNamespace + " get catalogsources,pods,jobs -o wide; kubectl -n " + catalogNamespace + " get catalogsources -o yaml",
		"kubectl -n " + catalogNamespace + " get events --sort-by=.lastTimestamp | tail -20",
		"kubectl -n " + installed.Namespace + " get events --sort-by=.lastTimestamp | tail -30",
		"kubectl -n " + managerNamespace + " get pods -o wide",
		"kubectl -n " + managerNamespace + " logs deployment/catalog-operator --tail=25",
		"kubectl -n " + managerNamespace + " logs deployment/olm-operator --tail=25",
		"kubectl -n " + installed.Namespace + " logs deployment/cluster-image-registry-operator --tail=25",
	} {
		text, _ := m.cluster.TryShell(command)
		fmt.Fprintf(&out, "$ %s\n%s\n", command, text)
	}
	return out.String()
}

//go:build olm

// Package olm lets the Operator Lifecycle Manager install, upgrade, downgrade and remove the operator on the
// development cluster, with the commands of docs/install.md.
//
// The manager is the real one, built from its module with the definitions, rights and Deployments that the
// module brings; bundle and catalog are made by hack/bundle and hack/images, like those of a release. It
// runs on request (make test-olm): the manager takes minutes to compile, and the installation that `make up`
// made is removed for it. At the end `make up` installs again.
package olm

import (
	"fmt"
	"strings"
	"testing"

	"image.alauda.io/registry/test/installed"
)

const (
	firstVersion = "0.1.0"
	nextVersion  = "0.2.0"
	nextTag      = "next"
	project      = "installed-by-olm"
	inSystem     = "kubectl -n " + installed.Namespace + " "
	configs      = "configs.imageregistry.operator.alauda.io"
	// managedNames begin the names that the manager gives to the operator's roles, and the plain ones.
	managedNames = "cluster-image-registry-o"
	pruners      = "imagepruners.imageregistry.operator.alauda.io"
	// sharedClaim is a storage that the registry can be rolled on without a gap; the claim is the test's own.
	sharedClaim = `apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: image-registry-storage, namespace: image-registry-system}
spec:
  accessModes: [ReadWriteMany]
  resources: {requests: {storage: 1Gi}}
`
)

// Behaviours operator 86 and 88: installation by Subscription with manual approval, a pull by the kubelet,
// upgrade and downgrade while images are pushed and pulled, an operator that goes before its Config, and
// removal. Each step begins where the one before ended, so the first failure ends the test.
func TestLifecycleByTheManager(t *testing.T) {
	cluster := installed.Connect(t)
	cluster.Healthy(t)
	documented := readPage(t, cluster)
	cluster.Build(t, cluster.Root, nextTag)
	first := publish(t, cluster, firstVersion, "dev", nil)
	next := publish(t, cluster, nextVersion, nextTag, first)

	t.Cleanup(func() { again(t, cluster) })
	repeated(t, cluster, documented)
	cleared(t, cluster, documented)
	removedWithKubectl(t, cluster, documented)
	m := installManager(t, cluster)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(m.state())
		}
	})
	subscribed(t, cluster, documented, first)
	rightsAreThoseOfTheBundle(t, cluster, first)
	enabled(t, cluster)
	load := cluster.StartLoad(t, project)
	upgraded(t, cluster, documented, next)
	downgraded(t, cluster, documented)
	load.Stop(t)
	operatorGoesFirst(t, cluster, documented)
	uninstalled(t, cluster, documented)
	documented.complete(t)
}

// again brings the cluster back to what `make up` leaves. The registry has a new CA then.
func again(t *testing.T, cluster *installed.Cluster) {
	const ours = " -l app.kubernetes.io/managed-by=" + operator
	for _, command := range []string{
		// After a failure the operator is gone before its Config, and an API without server holds up namespaces.
		"kubectl patch " + configs + ` cluster --type=merge -p '{"metadata":{"finalizers":null}}' || true`,
		"kubectl delete apiservices,mutatingwebhookconfigurations,validatingadmissionpolicies,validatingadmissionpolicybindings" + ours,
		"kubectl delete namespace " + project + " " + installed.Namespace + " --ignore-not-found --timeout=180s",
		"kubectl delete crd " + configs + " " + pruners + " --ignore-not-found --timeout=60s",
		"make up",
	} {
		if out, err := cluster.TryShell(command); err != nil {
			t.Errorf("$ %s\n%s\n%v", command, out, err)
		}
	}
}

// repeated installs what is installed.
func repeated(t *testing.T, cluster *installed.Cluster, documented *page) {
	t.Helper()
	if out := documented.run(t, "kubectl apply -k", 1, ""); strings.Contains(out, " configured") || strings.Contains(out, " created") {
		t.Errorf("applied twice:\n%s", out)
	}
}

// cleared takes away what an upgrade with kubectl leaves.
func cleared(t *testing.T, cluster *installed.Cluster, documented *page) {
	t.Helper()
	const grants = operator + "-grants"
	cluster.Shell(t, inSystem+"create role "+grants+" --verb=deletecollection --resource=leases.coordination.k8s.io")
	cluster.Shell(t, inSystem+"create rolebinding "+grants+" --role="+grants+" --serviceaccount="+installed.Namespace+":"+operator)
	documented.run(t, grants, 1, "")
	gone(t, cluster, inSystem+"get role,rolebinding "+grants+" --ignore-not-found -o name")
}

func removedWithKubectl(t *testing.T, cluster *installed.Cluster, documented *page) {
	t.Helper()
	for _, step := range []string{`"Removed"`, "--replicas=0", `"finalizers":null`, "delete cronjobs", "kubectl delete -k"} {
		documented.run(t, step, 1, "")
	}
	// Whatever the operator needs must now come from the lifecycle manager.
	leaves(t, cluster, records...)
}

func gone(t *testing.T, cluster *installed.Cluster, command string) {
	t.Helper()
	installed.Eventually(t, command, func() error {
		out, err := cluster.TryShell(command)
		if err != nil || out != "" {
			return fmt.Errorf("still there: %s (%v)", out, err)
		}
		return nil
	})
}

// subscribed installs the first version. Nothing happens before the InstallPlan is approved.
func subscribed(t *testing.T, cluster *installed.Cluster, documented *page, r *release) {
	t.Helper()
	offer(t, cluster, r.catalog)
	documented.run(t, "kubectl label namespace", 1, "")
	cluster.Shell(t, "kubectl apply -f "+sampleFolder+"/operatorgroup.yaml")
	cluster.Shell(t, inSystem+"wait subscription "+operator+" --for=jsonpath='{.status.state}'=UpgradePending --timeout=300s")
	if early := cluster.Shell(t, inSystem+"get deployments,csv -o name"); early != "" {
		t.Errorf("before the approval there is %s", early)
	}
	documented.run(t, `"approved":true`, 1, "")
	cluster.Runs(t, map[string]string{"deployment/" + operator: installed.Image(operator, "dev")})
	cluster.Shell(t, "kubectl wait --for=create "+configs+"/cluster --timeout=60s")
	cluster.Shell(t, "kubectl wait --for=create "+pruners+"/cluster --timeout=60s")
	cluster.Expect(t, map[string]string{"Removed": "True", "Degraded": "False"})
	if got := cluster.Shell(t, inSystem+"get deployments,daemonsets,cronjobs -o name"); strings.Contains(got, "daemonset") || strings.Count(got, "deployment") != 1 {
		t.Errorf("a fresh installation runs %s", got)
	}
}

// enabled turns the registry on, pushes an image and lets a kubelet pull it.
func enabled(t *testing.T, cluster *installed.Cluster) {
	t.Helper()
	cluster.Apply(t, sharedClaim)
	cluster.Shell(t, "kubectl apply -f manifests/samples/config-pvc.yaml")
	cluster.Healthy(t)
	cluster.Runs(t, installed.Operands("dev"))
	cluster.Project(t, project)
	cluster.TrustPublished(t)
	cluster.Shell(t, `host=${REGISTRY_HOST:-127.0.0.1:5000}; dir=$(mktemp -d); trap 'rm -rf $dir' EXIT
		kubectl -n `+installed.Namespace+` get configmap image-registry-public -o jsonpath='{.data.ca\.crt}' > $dir/ca.crt
		export SSL_CERT_FILE=$dir/ca.crt DOCKER_CONFIG=$dir
		kubectl -n `+project+` create token builder | crane auth login "$host" -u builder --password-stdin
		crane push _output/images/sample "$host/`+project+`/hello:v1" --index`)
	kubeletPulls(t, cluster, "first")
}

// kubeletPulls runs a Pod of the pushed image; its image is pulled whatever the node has.
func kubeletPulls(t *testing.T, cluster *installed.Cluster, name string) {
	t.Helper()
	cluster.Apply(t, fmt.Sprintf(`apiVersion: v1
kind: Pod
metadata: {name: %s, namespace: %s}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: hello
    image: image-registry.image-registry-system.svc:5000/%[2]s/hello:v1
    imagePullPolicy: Always
    securityContext: {allowPrivilegeEscalation: false, runAsNonRoot: true, capabilities: {drop: [ALL]}, seccompProfile: {type: RuntimeDefault}}
`, name, project))
	cluster.Shell(t, "kubectl -n "+project+" wait pod "+name+" --for=condition=Ready --timeout=300s")
}

// upgraded goes to the next version as soon as the catalog offers it and a person approves.
func upgraded(t *testing.T, cluster *installed.Cluster, documented *page, r *release) {
	t.Helper()
	offer(t, cluster, r.catalog)
	documented.run(t, `"approved":true`, 1, "")
	runs(t, cluster, nextVersion, nextTag)
	gone(t, cluster, inSystem+"get csv "+operator+".v"+firstVersion+" --ignore-not-found -o name")
	kubeletPulls(t, cluster, "upgraded")
}

func downgraded(t *testing.T, cluster *installed.Cluster, documented *page) {
	t.Helper()
	documented.run(t, "startingCSV", 1, firstVersion)
	documented.run(t, `"approved":true`, 1, "")
	runs(t, cluster, firstVersion, "dev")
	kubeletPulls(t, cluster, "downgraded")
}

// runs waits until a version is installed and its images are everywhere, and looks for what the manager
// might have taken away with the version before.
func runs(t *testing.T, cluster *installed.Cluster, version, tag string) {
	t.Helper()
	cluster.Runs(t, installed.Operands(tag))
	cluster.Healthy(t)
	cluster.Shell(t, inSystem+"wait csv "+operator+".v"+version+" --for=jsonpath='{.status.phase}'=Succeeded --timeout=300s")
	cluster.Shell(t, inSystem+"get serviceaccount,service "+operator)
}

// operatorGoesFirst deletes the operator and then its Config. The registry serves on, and a new installation
// finds settings removed and images kept.
func operatorGoesFirst(t *testing.T, cluster *installed.Cluster, documented *page) {
	t.Helper()
	unsubscribed(t, cluster, documented)
	cluster.Shell(t, "kubectl delete "+configs+" cluster --wait=false")
	if out, err := cluster.TryShell("kubectl wait --for=delete " + configs + "/cluster --timeout=3s"); err == nil {
		t.Errorf("Config/cluster went without its operator: %s", out)
	}
	documented.run(t, `"finalizers":null`, 1, "")
	gone(t, cluster, "kubectl get "+configs+" -o name")
	kubeletPulls(t, cluster, "without-operator")

	cluster.Shell(t, "kubectl apply -f "+sampleFolder+"/subscription.yaml")
	documented.run(t, `"approved":true`, 1, "")
	// The manager takes the rights of an operator away while it ends, so it may not give its lease back: the next
	// one leads when that has expired.
	cluster.Shell(t, "kubectl wait --for=create "+configs+"/cluster --timeout=300s")
	cluster.Expect(t, map[string]string{"Removed": "True", "Degraded": "False"})
	cluster.Shell(t, "kubectl apply -f manifests/samples/config-pvc.yaml")
	cluster.Healthy(t)
	cluster.Runs(t, installed.Operands(nextTag))
	cluster.TrustPublished(t)
	kubeletPulls(t, cluster, "kept")
}

// unsubscribed is the part of the removal that the manager does.
func unsubscribed(t *testing.T, cluster *installed.Cluster, documented *page) {
	t.Helper()
	documented.run(t, "status.installedCSV", 2, "")
	gone(t, cluster, inSystem+"get deployment,serviceaccount,service "+operator+" --ignore-not-found -o name")
	gone(t, cluster, "kubectl get clusterroles,clusterrolebindings -o name | grep "+managedNames+" || true")
}

// records is what holds images. It stays whatever is removed.
var records = []string{
	`CustomResourceDefinition /storedimages\.storage\.image\.alauda\.io`,
	`CustomResourceDefinition /storedimagestreams\.storage\.image\.alauda\.io`,
	`APIService /v1\.storage\.image\.alauda\.io`,
}

// keptByTheManager is what the page says that stays in its fourth step.
var keptByTheManager = []string{
	`Namespace /image-registry-system`,
	`OperatorGroup image-registry-system/image-registry`,
	`PersistentVolumeClaim image-registry-system/image-registry-storage`,
	`CustomResourceDefinition /configs\.imageregistry\.operator\.alauda\.io`,
	`CustomResourceDefinition /imagepruners\.imageregistry\.operator\.alauda\.io`,
	`APIService /v1\.imageregistry\.operator\.alauda\.io`,
	`ClusterRole /(configs|imagepruners)\.imageregistry\.operator\.alauda\.io-v1-\w+`,
	`ClusterRole /olm\.og\.image-registry\.\w+-\w+`,
	`Operator /cluster-image-registry-operator\.image-registry-system`,
}

// uninstalled removes in the documented order. What holds images stays until the last step, and the records
// after it.
func uninstalled(t *testing.T, cluster *installed.Cluster, documented *page) {
	t.Helper()
	before, err := cluster.Traces()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("installed:\n%s", strings.Join(before, "\n"))
	documented.run(t, `"Removed"`, 1, "")
	unsubscribed(t, cluster, documented)
	documented.run(t, `"finalizers":null`, 1, "")
	documented.run(t, "delete cronjobs", 1, "")
	leaves(t, cluster, append(keptByTheManager, records...)...)
	documented.run(t, "delete namespace", 1, "")
	gone(t, cluster, "kubectl get namespace "+installed.Namespace+" --ignore-not-found -o name")
	if out := cluster.Shell(t, "kubectl -n "+project+" get storedimagestreams.storage.image.alauda.io -o name"); out == "" {
		t.Error("the records of the streams are gone")
	}
	leaves(t, cluster, append([]string{`APIService /v1\.storage\.image\.alauda\.io|Operator /cluster-image-registry-operator\.image-registry-system`}, records[:2]...)...)
}

// leaves waits until nothing of the product is there but what the patterns name, and that is. What is too much
// does not hold up the steps that follow.
func leaves(t *testing.T, cluster *installed.Cluster, patterns ...string) {
	t.Helper()
	t.Run("what stays", func(t *testing.T) {
		installed.Eventually(t, "what the removal leaves", func() error {
			traces, err := cluster.Traces()
			if err != nil {
				return err
			}
			if unknown, missing := installed.Beyond(traces, patterns...); len(unknown)+len(missing) > 0 {
				return fmt.Errorf("not documented:\n%s\nmissing:\n%s", strings.Join(unknown, "\n"), strings.Join(missing, "\n"))
			}
			return nil
		})
	})
}

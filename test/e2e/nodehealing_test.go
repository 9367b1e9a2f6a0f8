//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// onNode runs a script inside a node.
func onNode(t *testing.T, node, script string) string {
	t.Helper()
	out, err := tryOnNode(t, node, script)
	if err != nil {
		t.Fatalf("on %s\n%s\n%s\n%v", node, script, out, err)
	}
	return out
}

func tryOnNode(t *testing.T, node, script string) (string, error) {
	t.Helper()
	return shared.tryShell(t, fmt.Sprintf("devcluster exec %s -- sh -euc '%s'", node, strings.ReplaceAll(script, "'", `'\''`)))
}

// mapsService says what is wrong with the line of the registry's Service on a node.
func mapsService(ctx context.Context, t *testing.T, node string) error {
	service, err := shared.kube.CoreV1().Services(systemNamespace).Get(ctx, "image-registry", metav1.GetOptions{})
	if err != nil {
		return err
	}
	if hosts := onNode(t, node, "cat /etc/hosts"); !strings.Contains(hosts, service.Spec.ClusterIP+"\timage-registry."+systemNamespace+".svc") {
		return fmt.Errorf("the Service has %s, node %s has\n%s", service.Spec.ClusterIP, node, hosts)
	}
	return nil
}

// Behaviours node-ca 18 and 25: the Service gets another address while /etc of one node is read-only. The nodes
// follow by themselves, the read-only one as soon as it can, and says meanwhile in an Event why not.
func TestNodesFollowANewAddressOfTheService(t *testing.T) {
	namespace := shared.namespace(t, "readdressed")
	pushSample(t, namespace+"/hello:v1", shared.pusher(t, namespace))
	pullSecretToken(t, namespace, "default")
	all := nodes(t)
	frozen := all[len(all)-1].Name
	old, err := shared.kube.CoreV1().Services(systemNamespace).Get(t.Context(), "image-registry", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	// /etc of these nodes is an overlay, which only the older call of the kernel remounts.
	const remount = "LIBMOUNT_FORCE_MOUNT2=always mount -o remount,"
	thaw := func() { onNode(t, frozen, remount+"rw /etc") }
	t.Cleanup(thaw)
	onNode(t, frozen, remount+"ro /etc")
	began := time.Now()
	shared.shell(t, "kubectl -n image-registry-system delete service image-registry")
	eventually(t, "the operator makes the Service again, with another address", func(ctx context.Context) error {
		now, err := shared.kube.CoreV1().Services(systemNamespace).Get(ctx, "image-registry", metav1.GetOptions{})
		switch {
		case err != nil:
			return err
		case now.UID == old.UID:
			return fmt.Errorf("it is the old one")
		case now.Spec.ClusterIP == old.Spec.ClusterIP:
			shared.shell(t, "kubectl -n image-registry-system delete service image-registry")
			return fmt.Errorf("it got the address %s once more", now.Spec.ClusterIP)
		}
		return nil
	})
	for _, node := range all {
		if node.Name != frozen {
			eventually(t, "node "+node.Name+" maps the new address", func(ctx context.Context) error { return mapsService(ctx, t, node.Name) })
			t.Logf("%s followed %s after the deletion", node.Name, time.Since(began).Round(time.Second))
		}
	}
	eventually(t, "an Event says why "+frozen+" does not follow", func(ctx context.Context) error {
		events, err := shared.kube.CoreV1().Events(systemNamespace).List(ctx, metav1.ListOptions{FieldSelector: "reason=Unhealthy"})
		if err != nil {
			return err
		}
		for _, event := range events.Items {
			if strings.HasPrefix(event.InvolvedObject.Name, "node-ca-") && event.Source.Host == frozen &&
				event.LastTimestamp.After(began) && strings.Contains(event.Message, "ReadOnlyFilesystem") {
				t.Logf("after %s: %s", time.Since(began).Round(time.Second), event.Message)
				return nil
			}
		}
		return fmt.Errorf("no Event of its agent names ReadOnlyFilesystem among %d", len(events.Items))
	})
	if err := mapsService(t.Context(), t, frozen); err == nil {
		t.Errorf("%s maps the new address although /etc was read-only", frozen)
	}
	thaw()
	thawed := time.Now()
	eventually(t, "node "+frozen+" maps the new address", func(ctx context.Context) error { return mapsService(ctx, t, frozen) })
	t.Logf("%s followed %s after it could", frozen, time.Since(thawed).Round(time.Second))
	for _, node := range all {
		runPod(t, namespace, "on-"+node.Name, node.Name, internalHost+"/"+namespace+"/hello:v1")
	}
	for _, node := range all {
		waitReady(t, namespace, "on-"+node.Name)
	}
	eventually(t, "all agents are ready", func(ctx context.Context) error {
		daemon, err := shared.kube.AppsV1().DaemonSets(systemNamespace).Get(ctx, "node-ca", metav1.GetOptions{})
		if err == nil && int(daemon.Status.NumberReady) != len(all) {
			err = fmt.Errorf("%d of %d are ready", daemon.Status.NumberReady, len(all))
		}
		return err
	})
	shared.waitHealthy(t)
}

// A node that joins later pulls by the name of the Service as soon as its agent has run, without anybody's doing.
func TestANodeThatJoinsLaterPulls(t *testing.T) {
	namespace := shared.namespace(t, "joined")
	pushSample(t, namespace+"/hello:v1", shared.pusher(t, namespace))
	pullSecretToken(t, namespace, "default")
	name := fmt.Sprintf("node%d", len(nodes(t))+1)
	t.Cleanup(func() {
		shared.shell(t, "devcluster remove-node "+name)
		eventually(t, "node "+name+" is gone", func(ctx context.Context) error {
			_, err := shared.kube.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
			if apierrors.IsNotFound(err) {
				return nil
			}
			return fmt.Errorf("it is still there: %v", err)
		})
		shared.waitHealthy(t)
	})
	shared.shell(t, "devcluster add-node "+name)
	ready := time.Now()
	runPod(t, namespace, "app", name, internalHost+"/"+namespace+"/hello:v1")
	waitReady(t, namespace, "app")
	t.Logf("the Pod runs %s after the node was Ready", time.Since(ready).Round(time.Second))
	if err := mapsService(t.Context(), t, name); err != nil {
		t.Error(err)
	}
}

// etcOf lists /etc of a node, one line for each path: type, mode, owner, target of a link, and of files, unless
// they are the hosts file, whose content is edited, the time and the hash.
func etcOf(t *testing.T, node string) map[string]string {
	t.Helper()
	all, err := tryEtcOf(t, node)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// tryEtcOf can fail while the directories change.
func tryEtcOf(t *testing.T, node string) (map[string]string, error) {
	t.Helper()
	out, err := tryOnNode(t, node, `cd /etc
		find . -type f ! -path ./hosts -printf "%p\t%y %m %U:%G %T@\n" -o -printf "%p\t%y %m %U:%G %l\n"
		find . -type f ! -path ./hosts -print0 | xargs -0 sha256sum | sed -E "s/^(\S+)  (.*)$/\2\tsha256 \1/"`)
	if err != nil {
		return nil, fmt.Errorf("/etc of %s: %w\n%s", node, err, out)
	}
	all := map[string]string{}
	for line := range strings.Lines(out) {
		path, text, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		all[path] += text + " "
	}
	if len(all) < 50 {
		return nil, fmt.Errorf("/etc of %s has %d entries\n%s", node, len(all), out)
	}
	return all, nil
}

// withoutAgent takes out of /etc what the markers of the agent claim.
func withoutAgent(t *testing.T, etc map[string]string) map[string]string {
	t.Helper()
	rest := map[string]string{}
	for entry, text := range etc {
		rest[entry] = text
	}
	markers := 0
	for entry := range etc {
		if path.Base(entry) != ".image-registry-node-ca.json" {
			continue
		}
		markers++
		for _, name := range []string{".image-registry-node-ca.json", "ca.crt", "hosts.toml"} {
			delete(rest, path.Join(path.Dir(entry), name))
			delete(rest, "./"+path.Join(path.Dir(entry), name))
		}
	}
	if markers == 0 {
		t.Error("the agent has left no marker, so there is nothing to see")
	}
	for entry := range etc {
		for dir := path.Dir(entry); path.Base(entry) == ".image-registry-node-ca.json" && dir != "."; dir = path.Dir(dir) {
			if !slices.ContainsFunc(keys(rest), func(other string) bool { return strings.HasPrefix(path.Clean(other), dir+"/") }) {
				delete(rest, "./"+dir)
			}
		}
	}
	return rest
}

func keys(m map[string]string) []string {
	all := make([]string, 0, len(m))
	for key := range m {
		all = append(all, key)
	}
	return all
}

// Behaviour node-ca 27: what is left of /etc when the registry is Removed is what was not the agent's, byte for
// byte, with modes, owners and times.
func TestRemovalLeavesTheNodesAsTheyWere(t *testing.T) {
	const foreign = "/etc/containerd/certs.d/mirror.example.com"
	type before struct {
		etc   map[string]string
		hosts string
	}
	found := map[string]before{}
	for _, node := range nodes(t) {
		t.Cleanup(func() { onNode(t, node.Name, "rm -rf "+foreign) })
		onNode(t, node.Name, "mkdir -p "+foreign+" && printf \"server = 'https://mirror.example.com'\\n\" > "+foreign+"/hosts.toml && "+
			"chown 65534:65534 "+foreign+"/hosts.toml && chmod 600 "+foreign+"/hosts.toml && touch -d 2020-02-02T02:02:02 "+foreign+"/hosts.toml")
		eventually(t, "node "+node.Name+" is served", func(ctx context.Context) error { return mapsService(ctx, t, node.Name) })
		found[node.Name] = before{etcOf(t, node.Name), onNode(t, node.Name, "cat /etc/hosts && echo end")}
	}
	// The claim is the operator's own; Unmanaged is the documented way to keep its data.
	shared.shell(t, `kubectl patch configs.imageregistry.operator.alauda.io cluster --type=merge -p '{"spec":{"storage":{"managementState":"Unmanaged"}}}'`)
	shared.waitHealthy(t)
	t.Cleanup(func() {
		shared.shell(t, `kubectl patch configs.imageregistry.operator.alauda.io cluster \
  --type=merge -p '{"spec":{"managementState":"Managed","storage":{"managementState":"Managed"}}}'`)
		// One by one: of several objects that are missing, kubectl does not wait for any.
		shared.shell(t, "kubectl -n image-registry-system wait --for=create deployment/image-registry --timeout=60s")
		shared.shell(t, "kubectl -n image-registry-system wait --for=create daemonset/node-ca --timeout=60s")
		shared.shell(t, "kubectl -n image-registry-system rollout status daemonset/node-ca --timeout=300s")
		shared.waitHealthy(t)
	})
	shared.shell(t, `kubectl patch configs.imageregistry.operator.alauda.io cluster --type=merge -p '{"spec":{"managementState":"Removed"}}'`)
	shared.shell(t, "kubectl wait configs.imageregistry.operator.alauda.io cluster --for=condition=Removed --timeout=240s")
	for node, was := range found {
		if diff := cmp.Diff(withoutAgent(t, was.etc), etcOf(t, node)); diff != "" {
			t.Errorf("/etc of %s (-before, without the agent's +after):\n%s", node, diff)
		}
		want, _, there := strings.Cut(was.hosts, "# BEGIN image-registry-node-ca")
		if got := onNode(t, node, "cat /etc/hosts && echo end"); !there || got != want+"end" {
			t.Errorf("/etc/hosts of %s was\n%s\nand is\n%s", node, was.hosts, got)
		}
	}
}

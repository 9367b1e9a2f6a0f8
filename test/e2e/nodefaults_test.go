//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"image.alauda.io/registry/test/selfsigned"
)

const agentMarker = ".image-registry-node-ca.json"

// agentPod returns the Pod of the agent on a node, if it is the only one, ready and not that of before.
func agentPod(ctx context.Context, node, before string) (*corev1.Pod, error) {
	list, err := shared.kube.CoreV1().Pods(systemNamespace).List(ctx, metav1.ListOptions{
		LabelSelector: "app.kubernetes.io/name=node-ca", FieldSelector: "spec.nodeName=" + node})
	if err != nil {
		return nil, err
	}
	if len(list.Items) != 1 {
		return nil, fmt.Errorf("%d agents on %s", len(list.Items), node)
	}
	pod := &list.Items[0]
	ready := slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
	if string(pod.UID) == before || pod.DeletionTimestamp != nil || !ready {
		return pod, fmt.Errorf("Pod %s is not the ready agent that is waited for: %+v", pod.Name, pod.Status.ContainerStatuses)
	}
	return pod, nil
}

// readyAgent waits for the agent of a node.
func readyAgent(t *testing.T, node, before string) (found *corev1.Pod) {
	t.Helper()
	eventually(t, "the agent on "+node, func(ctx context.Context) (err error) {
		found, err = agentPod(ctx, node, before)
		return err
	})
	return found
}

// anotherAgent replaces the Pod of the agent on a node; the new one sees what is mounted there now.
func anotherAgent(t *testing.T, node string) *corev1.Pod {
	t.Helper()
	old := readyAgent(t, node, "")
	shared.shell(t, "kubectl -n image-registry-system delete pod "+old.Name)
	return readyAgent(t, node, string(old.UID))
}

// agentProcess finds the agent of a node: the nodes of the development cluster share the machine's processes.
func agentProcess(t *testing.T, node string) (pid int, environment []string) {
	t.Helper()
	eventually(t, "the process of the agent on "+node, func(context.Context) error {
		lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
		if err != nil {
			return err
		}
		for _, line := range lines {
			words, _ := os.ReadFile(line)
			variables, _ := os.ReadFile(filepath.Join(filepath.Dir(line), "environ"))
			environment = strings.Split(strings.Trim(string(variables), "\x00"), "\x00")
			if strings.Trim(string(words), "\x00") == "/usr/bin/node-ca" && slices.Contains(environment, "NODE_NAME="+node) {
				pid, err = strconv.Atoi(filepath.Base(filepath.Dir(line)))
				return err
			}
		}
		return fmt.Errorf("none among %d processes", len(lines))
	})
	return pid, environment
}

func signal(t *testing.T, pid int, what syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, what); err != nil {
		t.Fatalf("process %d of the agent: %v", pid, err)
	}
}

// refreshed has the kubelet look at the ConfigMaps of a Pod sooner than in its minute.
func refreshed(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	shared.shell(t, fmt.Sprintf("kubectl -n image-registry-system annotate --overwrite pod %s test/refresh=%d", pod.Name, time.Now().UnixNano()))
}

var times = regexp.MustCompile(` \d+\.\d{6,} `)

// ageless drops the times of the files that the agent has made anew for the registry.
func ageless(etc map[string]string) map[string]string {
	all := maps.Clone(etc)
	for entry, text := range all {
		if strings.Contains(entry, "/image-registry.image-registry-system.svc:5000/") {
			all[entry] = times.ReplaceAllString(text, " ")
		}
	}
	return all
}

// settledEtc waits until /etc of a node is as wanted, entry by entry.
func settledEtc(t *testing.T, node, what string, want map[string]string) {
	t.Helper()
	eventually(t, what, func(context.Context) error {
		now, err := tryEtcOf(t, node)
		if now, want := ageless(now), ageless(want); err == nil && !maps.Equal(now, want) {
			err = fmt.Errorf("/etc of %s (-wanted +found):\n%s", node, cmp.Diff(want, now))
		}
		return err
	})
}

// editing is a script of somebody who appends to /etc/hosts all the time, replaces it every seventh time, and
// once puts a file without the agent's block in its place. It prints how many lines it has added.
const editing = `cd /etc; i=0
	while [ ! -e /run/edited ]; do
		i=$((i+1)); echo "198.18.255.1 edited-$i.example.com" >> hosts
		if [ $((i%7)) = 0 ]; then
			cp -p hosts .hosts.new; i=$((i+1)); echo "198.18.255.1 edited-$i.example.com" >> .hosts.new; mv .hosts.new hosts
		fi
		if [ -e /run/unblocked ]; then
			sed "/^# BEGIN image-registry/,/^# END image-registry/d" hosts > .hosts.new; mv .hosts.new hosts; rm /run/unblocked
		fi
		sleep 0.02
	done; rm /run/edited; echo $i`

// Behaviours node-ca 18, 22 and 23 on a real node: /etc/hosts is edited by somebody else while the address of
// the Service changes, then the file system of /etc is full when the registry's CA is missing.
func TestANodeWithBusyEditorsAndAFullDisk(t *testing.T) {
	namespace := shared.namespace(t, "fulldisk")
	pushSample(t, namespace+"/hello:v1", shared.pusher(t, namespace))
	pullSecretToken(t, namespace, "default")
	all := nodes(t)
	node := all[len(all)-1].Name
	t.Cleanup(func() {
		onNode(t, node, `rm -f /run/unblocked; if grep -q "^small /etc tmpfs" /proc/mounts; then umount -l /etc; fi`)
		anotherAgent(t, node)
		shared.waitHealthy(t)
	})
	readyAgent(t, node, "")
	onNode(t, node, `mkdir -p /run/small; mount -t tmpfs -o size=64m,mode=755 small /run/small; cp -a /etc/. /run/small
		mount --bind /run/small /etc; umount /run/small; rmdir /run/small`)
	pod := anotherAgent(t, node)
	editHosts(t, node, pod)
	healthy := etcOf(t, node)
	pid, _ := agentProcess(t, node)
	signal(t, pid, syscall.SIGSTOP)
	defer syscall.Kill(pid, syscall.SIGCONT)
	onNode(t, node, `find /etc -path "*image-registry.image-registry-system.svc:5000/`+agentMarker+`" | while read marker; do rm -r "${marker%/*}"; done
		cat /dev/zero > /etc/filler 2>/dev/null && exit 1; cp -p /etc/hosts /run/hosts.before`)
	full, began := etcOf(t, node), time.Now()
	signal(t, pid, syscall.SIGCONT)
	eventually(t, "log and metric of the agent say that the disk is full", func(ctx context.Context) error { return saysNoSpace(ctx, t, pod) })
	t.Logf("a full disk was reported after %s", time.Since(began).Round(100*time.Millisecond))
	// What a probe prints is the text of an Event; TestNodesFollowANewAddressOfTheService waits for one.
	if said, err := shared.tryShell(t, "kubectl -n image-registry-system exec "+pod.Name+" -- node-ca check readiness"); err == nil || !strings.Contains(said, "NoSpace: ") {
		t.Errorf("the probe of readiness says %q, %v", said, err)
	}
	settledEtc(t, node, "the full disk has nothing half-written", full)
	onNode(t, node, "cmp /etc/hosts /run/hosts.before; rm /run/hosts.before /etc/filler")
	freed := time.Now()
	settledEtc(t, node, "all is back when there is room", healthy)
	t.Logf("the node was as before %s after there was room", time.Since(freed).Round(100*time.Millisecond))
	runPod(t, namespace, "app", node, internalHost+"/"+namespace+"/hello:v1")
	waitReady(t, namespace, "app")
}

// editHosts changes the address of the Service, and takes the block away, while somebody edits the file.
func editHosts(t *testing.T, node string, pod *corev1.Pod) {
	t.Helper()
	before := onNode(t, node, `sed "/^# BEGIN image-registry/,/^# END image-registry/d" /etc/hosts`)
	type end struct {
		lines string
		err   error
	}
	ended := make(chan end, 1)
	go func() {
		lines, err := tryOnNode(t, node, editing)
		ended <- end{lines, err}
	}()
	stop := func() end {
		_, _ = tryOnNode(t, node, "touch /run/edited")
		return <-ended
	}
	stopped := false
	defer func() {
		if !stopped {
			stop()
		}
	}()
	old, err := shared.kube.CoreV1().Services(systemNamespace).Get(t.Context(), "image-registry", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	shared.shell(t, "kubectl -n image-registry-system delete service image-registry")
	eventually(t, "the operator makes the Service again", func(ctx context.Context) error {
		now, err := shared.kube.CoreV1().Services(systemNamespace).Get(ctx, "image-registry", metav1.GetOptions{})
		if err == nil && now.UID == old.UID {
			err = fmt.Errorf("it is the old one")
		}
		return err
	})
	mapped := func(what string) {
		eventually(t, what, func(ctx context.Context) error {
			refreshed(t, pod)
			return mapsService(ctx, t, node)
		})
	}
	mapped("the new address in a file that is edited")
	t.Logf("the new address was there %s after the deletion", time.Since(began).Round(time.Second))
	onNode(t, node, "touch /run/unblocked")
	eventually(t, "somebody takes the block away", func(context.Context) error {
		_, err := tryOnNode(t, node, "test ! -e /run/unblocked")
		return err
	})
	began = time.Now()
	mapped("the block in a file that was replaced without it")
	t.Logf("the block was back after %s", time.Since(began).Round(time.Second))
	edited := stop()
	stopped = true
	if edited.err != nil {
		t.Fatalf("editor: %v\n%s", edited.err, edited.lines)
	}
	count, err := strconv.Atoi(edited.lines)
	if err != nil || count < 50 {
		t.Fatalf("the editor added %q lines: %v", edited.lines, err)
	}
	var want strings.Builder
	for i := 1; i <= count; i++ {
		fmt.Fprintf(&want, "198.18.255.1 edited-%d.example.com\n", i)
	}
	mapped("the block at last")
	hosts := onNode(t, node, "cat /etc/hosts; echo end") // so that the last line keeps its newline
	var got strings.Builder
	for line := range strings.Lines(hosts) {
		if strings.Contains(line, "edited-") {
			got.WriteString(line)
		}
	}
	if diff := cmp.Diff(want.String(), got.String()); diff != "" {
		t.Errorf("of %d lines (-added +found):\n%s", count, diff)
	}
	if !strings.HasPrefix(hosts, before) || strings.Count(hosts, "# BEGIN image-registry") != 1 {
		t.Errorf("/etc/hosts had without the block\n%s\nand is\n%s", before, hosts)
	}
	t.Logf("%d lines were added meanwhile, all are there", count)
}

// saysNoSpace looks for what the agent has to say when it cannot write.
func saysNoSpace(ctx context.Context, t *testing.T, pod *corev1.Pod) error {
	t.Helper()
	logs := shared.shell(t, "kubectl -n image-registry-system logs "+pod.Name)
	if !strings.Contains(logs, `"reason":"NoSpace"`) {
		return fmt.Errorf("no such reason in the log:\n%s", logs)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+pod.Status.PodIP+":9177/metrics", nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	metrics, err := io.ReadAll(response.Body)
	if err != nil || !bytes.Contains(metrics, []byte(`node_ca_condition{reason="NoSpace",severity="error"} 1`)) {
		return fmt.Errorf("no such metric: %v\n%s", err, metrics)
	}
	return nil
}

// Behaviour node-ca 13 on a real node: the agent is killed over and over at random moments while the CAs that
// nodes are to trust change. What is there in the end is what the last ConfigMap says, and then what was before.
func TestAnAgentThatIsKilledOverAndOver(t *testing.T) {
	const name, rounds, kills = "killed-ca", 5, 7
	node := nodes(t)[0].Name
	pod := readyAgent(t, node, "")
	before := etcOf(t, node)
	client := shared.kube.CoreV1().ConfigMaps(systemNamespace)
	if _, err := client.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	const patch = `kubectl patch configs.imageregistry.operator.alauda.io cluster --type=merge -p '{"spec":{"additionalTrustedCA":`
	untrust := func() { shared.shell(t, patch+`null}}'`) }
	t.Cleanup(func() {
		untrust()
		shared.shell(t, "kubectl -n image-registry-system delete configmap "+name+" --ignore-not-found")
		shared.waitHealthy(t)
	})
	shared.shell(t, patch+`{"name":"`+name+`"}}}'`)
	pid, environment := agentProcess(t, node)
	volume := filepath.Join("/proc", strconv.Itoa(pid), "root", "var/run/configmaps/certificates")
	signal(t, pid, syscall.SIGSTOP) // only those that are killed write
	defer syscall.Kill(pid, syscall.SIGCONT)
	other, _, err := selfsigned.Issue(1)
	if err != nil {
		t.Fatal(err)
	}
	authorities := [2]string{string(publishedCA(t)), string(other)}
	var wanted map[string]string
	killed, left := 0, 0
	for round := range rounds {
		wanted = map[string]string{}
		for i := range 12 {
			wanted[fmt.Sprintf("host-%d.killed.example.com..5000", round*4+i)] = authorities[(round+i)%2]
		}
		_, err := client.Update(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: wanted}, metav1.UpdateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "the volume of the agent has the CAs of this round", func(context.Context) error {
			refreshed(t, pod)
			killed += killedAgent(t, pid, environment)
			for key, value := range wanted {
				if mounted, err := os.ReadFile(filepath.Join(volume, key)); err != nil || string(mounted) != value {
					return fmt.Errorf("key %s has %d bytes, want %d: %v", key, len(mounted), len(value), err)
				}
			}
			return nil
		})
		for range kills {
			killed += killedAgent(t, pid, environment)
		}
		left = max(left, len(strings.Fields(onNode(t, node, "find /etc -name '.node-ca-*'"))))
	}
	// What dead agents leave is swept when it is ten minutes old, when an agent starts.
	onNode(t, node, "find /etc -depth -name '.node-ca-*' -exec touch -h -d '1 hour ago' {} +")
	ended := time.Now()
	signal(t, pid, syscall.SIGKILL)
	eventually(t, "the node trusts what the last ConfigMap says, and nothing else", func(context.Context) error {
		now, err := tryEtcOf(t, node)
		if err != nil {
			return err
		}
		return onlyTrusts(now, wanted)
	})
	t.Logf("%d killed, %d temporary entries at most; all was right %s after the last", killed, left, time.Since(ended).Round(time.Second))
	if killed < 30 {
		t.Errorf("only %d of the agents lived long enough to be killed", killed)
	}
	untrust()
	eventually(t, "the kubelet hands on that nothing is wanted any more", func(context.Context) error {
		refreshed(t, pod)
		now, err := tryEtcOf(t, node)
		if err == nil && !maps.Equal(before, now) {
			err = fmt.Errorf("/etc of %s (-before +after):\n%s", node, cmp.Diff(before, now))
		}
		return err
	})
}

// killedAgent runs an agent in the place of the one that is stopped, and kills it at some moment.
func killedAgent(t *testing.T, pid int, environment []string) int {
	t.Helper()
	agent := exec.CommandContext(t.Context(), "nsenter", "-t", strconv.Itoa(pid), "-m", "--", "/usr/bin/node-ca")
	agent.Env = append(slices.Clone(environment), "NODE_CA_METRICS_ADDR=")
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	moment := time.AfterFunc(time.Duration(10+rand.IntN(90))*time.Millisecond, func() { _ = agent.Process.Kill() })
	defer moment.Stop()
	_ = agent.Wait()
	if status, ok := agent.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 1
	}
	t.Errorf("the agent ended by itself: %v", agent.ProcessState)
	return 0
}

// onlyTrusts compares the additional hosts below /etc of a node with the keys of a ConfigMap.
func onlyTrusts(etc, wanted map[string]string) error {
	found, roots := map[string]int{}, map[string]bool{}
	for entry, text := range etc {
		if strings.HasPrefix(path.Base(entry), ".node-ca-") {
			return fmt.Errorf("%s is left", entry)
		}
		host := path.Base(path.Dir(entry))
		if path.Base(entry) != "ca.crt" || !strings.HasSuffix(host, ".killed.example.com:5000") {
			continue
		}
		pem, there := wanted[strings.Replace(host, ":", "..", 1)]
		if !there {
			return fmt.Errorf("%s is not wanted", entry)
		}
		if hash := fmt.Sprintf("sha256 %x ", sha256.Sum256([]byte(strings.TrimSpace(pem)+"\n"))); !strings.Contains(text, hash) {
			return fmt.Errorf("%s has %s, want %s", entry, text, hash)
		}
		found[host]++
		roots[path.Dir(path.Dir(entry))] = true
	}
	for host, times := range found {
		if times != len(roots) {
			return fmt.Errorf("%s is in %d of %d roots", host, times, len(roots))
		}
	}
	if len(found) != len(wanted) {
		return fmt.Errorf("%d hosts are trusted, want %d", len(found), len(wanted))
	}
	return nil
}

// nodesTrust waits until what containerd reads on each node for the registry has every CA that is published.
func nodesTrust(t *testing.T, published []byte, since time.Time) {
	t.Helper()
	for _, node := range nodes(t) {
		eventually(t, node.Name+" trusts the CAs that are published", func(context.Context) error {
			text, err := tryOnNode(t, node.Name, "cat /etc/containerd/certs.d/"+internalHost+"/ca.crt")
			if err != nil {
				return err
			}
			trusted := certificates(t, []byte(text))
			for i, ca := range certificates(t, published) {
				if !slices.ContainsFunc(trusted, ca.Equal) {
					return fmt.Errorf("%d are there, number %d of those published is not", len(trusted), i+1)
				}
			}
			return nil
		})
		t.Logf("%s trusted the next CA %s after its publication", node.Name, time.Since(since).Round(time.Second))
	}
}

// pullOnNode pulls by the container runtime of a node, with what the node trusts and where it finds the Service.
func pullOnNode(t *testing.T, node, image, token string) func(context.Context) error {
	t.Helper()
	ctr := "devcluster exec " + node + " -- ctr -n rotation "
	t.Cleanup(func() {
		if out, err := shared.tryShell(t, ctr+"images rm --sync "+image+" && "+ctr+"content prune references && "+ctr+"namespaces rm rotation"); err != nil {
			t.Logf("%s: %s: %v", node, out, err)
		}
	})
	return func(context.Context) error {
		out, err := shared.tryShell(t, ctr+"images pull --hosts-dir /etc/containerd/certs.d --user builder:"+token+" "+image)
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	}
}

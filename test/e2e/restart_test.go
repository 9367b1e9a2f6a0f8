//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	registryv1 "image.alauda.io/api/imageregistry/v1"
)

const theConfig = "configs.imageregistry.operator.alauda.io cluster"

// ask is one thing that an administrator asks for. They follow each other in a circle.
type ask struct {
	name, command string
	// removed: nothing of the data plane is left when it is done.
	removed bool
	// onClaim: when it is done, the registry serves what the claim has.
	onClaim bool
	// undone: when it is done, everything is as at the beginning of the circle.
	undone bool
}

func patched(patch string) string {
	return "kubectl patch " + theConfig + " --type=merge -p '" + patch + "'"
}

// circle is what a registry is asked for in its life. Storage Unmanaged keeps the claim through all of it.
func circle() []ask {
	return []ask{
		{name: "another log level", command: patched(`{"spec":{"logLevel":"Debug"}}`), onClaim: true},
		{name: "the former log level", command: patched(`{"spec":{"logLevel":"Normal"}}`), onClaim: true, undone: true},
		{name: "storage of the Pod", command: patched(`{"spec":{"storage":{"pvc":null,"emptyDir":{}}}}`)},
		{name: "storage of the claim", command: patched(`{"spec":{"storage":{"emptyDir":null,"pvc":{"claim":"image-registry-storage"}}}}`), onClaim: true, undone: true},
		{name: "removal", command: patched(`{"spec":{"managementState":"Removed"}}`), removed: true},
		{name: "return", command: patched(`{"spec":{"managementState":"Managed"}}`), onClaim: true, undone: true},
	}
}

// restarts of what the registry stands on; none takes anything away that is stored.
var restarts = map[string]string{
	"the API server":   "devcluster restart --kill kube-apiserver",
	"etcd":             "devcluster restart --kill etcd",
	"the first node":   "devcluster restart node1",
	"the second node":  "devcluster restart node2",
	"the operator":     "kubectl -n image-registry-system delete pods -l app.kubernetes.io/name=cluster-image-registry-operator --grace-period=0 --force",
	"nothing":          "true",
	"a hanging plane":  "devcluster pause kube-apiserver; sleep 40; devcluster resume kube-apiserver",
	"the whole plane":  "devcluster restart --kill etcd kube-apiserver kube-controller-manager kube-scheduler",
	"a node's daemons": "devcluster restart --kill node1-kubelet node1-containerd node2-kube-proxy",
}

// The moments of a restart: the request was taken; the operator has seen it; what the operator changed for it has
// reached the registry's Deployment.
const (
	asked = iota
	seen
	begun
)

// enough is the time that a request with a restart takes at most, and what is restored behind the last of them.
const enough = 4 * time.Minute

var moments = []string{"when it was asked for", "when the operator has seen it", "when the registry rolls"}

// restarted is a registry in the circle.
type restarted struct {
	*testing.T
	namespace string
	auth      remote.Option
	digest    v1.Hash
	claim     string
	pods      int
	// wants are the states that follow each request when nothing restarts; the empty name is the beginning.
	wants map[string]map[string]string
}

// TestRestartsAtEveryStep restarts what the registry stands on while the operator carries out a request, and
// compares the end with that of a request in peace: the same objects and conditions, a kubelet pulls, and the claim
// has what it had. With EVERY_STEP=1 everything restarts at each moment of each request, which takes an hour
// (-run 'TestRestartsAtEveryStep/etcd' is a part of it); otherwise each request sees one restart.
//
// Behaviour operator 22.
func TestRestartsAtEveryStep(t *testing.T) {
	r := newRestarted(t)
	if os.Getenv("EVERY_STEP") == "" {
		few := []struct {
			what string
			when int
		}{{"the API server", seen}, {"the operator", seen}, {"etcd", begun}, {"the second node", begun}, {"the whole plane", seen}, {"the API server", begun}}
		for i, request := range circle() {
			t.Run(fmt.Sprintf("%s restarts during %s", few[i].what, request.name), func(t *testing.T) {
				r.T = t
				r.interrupt(request, few[i].what, few[i].when)
			})
		}
		return
	}
	for _, request := range circle() {
		r.interrupt(request, "nothing", asked)
		if !request.undone {
			r.wants[request.name] = r.settled()
		}
	}
	for _, what := range slices.Sorted(maps.Keys(restarts)) {
		t.Run(what, func(t *testing.T) {
			for when, moment := range moments {
				for _, request := range circle() {
					t.Run(request.name+", "+moment, func(t *testing.T) {
						// Whom -timeout ends, he restores nothing.
						if end, limited := t.Deadline(); limited && time.Until(end) < enough {
							t.Fatalf("not run: less than %s are left of -timeout", enough)
						}
						r.T = t
						r.interrupt(request, what, when)
					})
				}
			}
		})
	}
}

func newRestarted(t *testing.T) *restarted {
	shared.waitHealthy(t)
	r := &restarted{T: t, namespace: shared.namespace(t, "restarts")}
	r.auth = shared.pusher(t, r.namespace)
	pushSample(t, r.namespace+"/hello:v1", r.auth)
	r.digest = pushRandomImage(t, r.namespace+"/app:v1", r.auth)
	pullSecretToken(t, r.namespace, "default")
	claim, err := shared.kube.CoreV1().PersistentVolumeClaims(systemNamespace).Get(t.Context(), "image-registry-storage", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r.claim = string(claim.UID)
	t.Cleanup(func() { // whatever a restart has left: the cluster, and Config as it was
		shared.shell(t, "devcluster start etcd kube-apiserver kube-controller-manager kube-scheduler node1 node2")
		shared.shell(t, patched(`{"spec":{"managementState":"Managed","logLevel":"Normal","storage":{"managementState":"Managed","emptyDir":null,"pvc":{"claim":"image-registry-storage"}}}}`))
		shared.waitHealthy(t)
	})
	shared.shell(t, patched(`{"spec":{"logLevel":"Normal","storage":{"managementState":"Unmanaged"}}}`))
	shared.waitHealthy(t)
	r.wants = map[string]map[string]string{"": r.settled()}
	return r
}

// interrupt makes a request, restarts something at the moment, and holds the end to what it has to be.
func (r *restarted) interrupt(request ask, what string, when int) {
	r.Helper()
	began := time.Now()
	deployment := r.deployment()
	shared.shell(r.T, request.command)
	switch when {
	case seen:
		eventually(r.T, "the operator has seen the request", func(ctx context.Context) error {
			_, err := r.observed(ctx)
			return err
		})
	case begun:
		eventually(r.T, "the registry's Deployment is touched", func(context.Context) error {
			if r.deployment() == deployment {
				return fmt.Errorf("it is still %s", deployment)
			}
			return nil
		})
	}
	shared.shell(r.T, restarts[what])
	r.ends(request)
	if want, known := r.wants[key(request)]; known {
		eventually(r.T, request.name+": the same state as without a restart", func(context.Context) error { return same(want, r.state()) })
	}
	claim, err := shared.kube.CoreV1().PersistentVolumeClaims(systemNamespace).Get(r.Context(), "image-registry-storage", metav1.GetOptions{})
	if err != nil || string(claim.UID) != r.claim {
		r.Fatalf("the claim with the images is another one or gone: %v", err)
	}
	if request.onClaim {
		r.serves()
	}
	r.Logf("%s", time.Since(began).Round(time.Second))
}

// key is the name under which the end of a request is known.
func key(request ask) string {
	if request.undone {
		return ""
	}
	return request.name
}

// deployment changes with every roll-out of the registry.
func (r *restarted) deployment() string {
	deployment, err := shared.kube.AppsV1().Deployments(systemNamespace).Get(r.Context(), "image-registry", metav1.GetOptions{})
	if err != nil {
		return "not there"
	}
	return fmt.Sprintf("%s in generation %d", deployment.UID, deployment.Generation)
}

// observed is Config once the operator has seen its present generation.
func (r *restarted) observed(ctx context.Context) (*registryv1.Config, error) {
	config, err := shared.image.ImageregistryV1().Configs().Get(ctx, "cluster", metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	if config.Status.ObservedGeneration < config.Generation {
		return nil, fmt.Errorf("generation %d is observed, %d is wanted", config.Status.ObservedGeneration, config.Generation)
	}
	return config, nil
}

// ends waits for the end of a request.
func (r *restarted) ends(request ask) {
	r.Helper()
	if !request.removed {
		shared.waitHealthy(r.T)
		return
	}
	eventually(r.T, "the registry is removed", func(ctx context.Context) error {
		config, err := r.observed(ctx)
		if err != nil {
			return err
		}
		for _, condition := range config.Status.Conditions {
			if condition.Type == "Removed" && condition.Status == registryv1.ConditionTrue {
				return nil
			}
		}
		return fmt.Errorf("conditions %v", config.Status.Conditions)
	})
	if _, err := shared.kube.AppsV1().Deployments(systemNamespace).Get(r.Context(), "image-registry", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		r.Errorf("the registry's Deployment after its removal: %v", err)
	}
}

// serves pulls what was pushed before everything, as a client and as the kubelets do.
func (r *restarted) serves() {
	r.Helper()
	eventually(r.T, "a pull by a client", func(context.Context) error {
		_, err := remote.Head(shared.reference(r.T, r.namespace+"/app:v1"), shared.remoteOptions(r.T, r.auth)...)
		return err
	})
	if got := pullCompletely(r.T, r.namespace+"/app:v1", r.auth); got != r.digest {
		r.Errorf("got %s, want %s", got, r.digest)
	}
	r.pods++
	var names []string
	for _, node := range nodes(r.T) {
		name := fmt.Sprintf("pull-%d-on-%s", r.pods, node.Name)
		runPod(r.T, r.namespace, name, node.Name, internalHost+"/"+r.namespace+"/hello:v1")
		names = append(names, name)
	}
	for _, name := range names {
		waitReady(r.T, r.namespace, name)
	}
	shared.shell(r.T, "kubectl -n "+r.namespace+" delete pods --wait=false "+strings.Join(names, " "))
}

// kinds are those of which the operator makes objects.
const kinds = "serviceaccounts,secrets,configmaps,services,persistentvolumeclaims,deployments,daemonsets,cronjobs,ingresses,poddisruptionbudgets," +
	"networkpolicies,roles,rolebindings,clusterroles,clusterrolebindings,apiservices,validatingadmissionpolicies,validatingadmissionpolicybindings," +
	"mutatingadmissionpolicies,mutatingadmissionpolicybindings,mutatingwebhookconfigurations,prioritylevelconfigurations,flowschemas,customresourcedefinitions"

// hashes are those of keys, which are other ones after a return.
var hashes = regexp.MustCompile(`[0-9a-f]{16,64}`)

// settled is the state once every Pod is there. Healthy is already what serves with fewer, as it does for a
// moment after the cluster came up; nothing can be compared with that.
func (r *restarted) settled() (state map[string]string) {
	r.Helper()
	eventually(r.T, "all Pods of the product are there", func(context.Context) error {
		state = r.state()
		for name, condition := range state {
			if strings.HasPrefix(name, "condition ") && strings.HasSuffix(condition, " "+registryv1.ReasonMinimumAvailability) {
				return fmt.Errorf("%s is %s", name, condition)
			}
		}
		return nil
	})
	return state
}

// state is every object of the operator, with the specification of the workloads, and the conditions of Config.
func (r *restarted) state() map[string]string {
	r.Helper()
	var list struct {
		Items []struct {
			Kind     string
			Metadata metav1.ObjectMeta
			Spec     map[string]any
		}
	}
	text := shared.shell(r.T, "kubectl get "+kinds+" -A -l app.kubernetes.io/managed-by=cluster-image-registry-operator -o json")
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		r.Fatalf("the operator's objects: %v", err)
	}
	state := map[string]string{}
	for _, object := range list.Items {
		if object.Metadata.Namespace != "" && object.Metadata.Namespace != systemNamespace {
			continue // of namespaces that come and go with tests
		}
		what := ""
		if object.Kind == "Deployment" || object.Kind == "DaemonSet" || object.Kind == "CronJob" {
			what = r.specification(object.Spec)
		}
		state[object.Kind+" "+object.Metadata.Name] = what
	}
	config, err := shared.image.ImageregistryV1().Configs().Get(r.Context(), "cluster", metav1.GetOptions{})
	if err != nil {
		r.Fatal(err)
	}
	for _, condition := range config.Status.Conditions {
		state["condition "+condition.Type] = string(condition.Status) + " " + condition.Reason
	}
	return state
}

// specification is that of a workload without what differs from time to time: hashes, and the mark that
// kubectl rollout restart leaves until the workload is made anew.
func (r *restarted) specification(spec map[string]any) string {
	r.Helper()
	metadata := []string{"template", "metadata", "annotations"}
	unstructured.RemoveNestedField(spec, append(metadata, "kubectl.kubernetes.io/restartedAt")...)
	if left, _, _ := unstructured.NestedMap(spec, metadata...); len(left) == 0 {
		unstructured.RemoveNestedField(spec, metadata...)
	}
	text, err := json.MarshalIndent(spec, "", " ")
	if err != nil {
		r.Fatal(err)
	}
	return hashes.ReplaceAllString(string(text), "…")
}

// same names the first difference.
func same(want, got map[string]string) error {
	both := maps.Clone(got)
	maps.Copy(both, want)
	for _, name := range slices.Sorted(maps.Keys(both)) {
		before, wanted := want[name]
		after, there := got[name]
		switch {
		case !there:
			return fmt.Errorf("%s is missing", name)
		case !wanted:
			return fmt.Errorf("%s (%s) should not be there", name, after)
		case before != after:
			return fmt.Errorf("%s is not the same:\n%s", name, cmp.Diff(strings.Split(before, "\n"), strings.Split(after, "\n")))
		}
	}
	return nil
}

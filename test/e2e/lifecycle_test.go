//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Behaviour image-api 59.
func TestNamespaceDeletionCleansItsStreams(t *testing.T) {
	namespace := shared.namespace(t, "gone")
	pushRandomImage(t, namespace+"/app:v1", shared.pusher(t, namespace))
	shared.shell(t, "kubectl delete namespace "+namespace+" --timeout=240s")

	_, err := shared.kube.CoreV1().Namespaces().Get(t.Context(), namespace, metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		t.Errorf("namespace %s: got %v, want NotFound", namespace, err)
	}
	streams := shared.shell(t, "kubectl get imagestreams -A -o jsonpath='{.items[*].metadata.namespace}'")
	if strings.Contains(streams, namespace) {
		t.Errorf("streams of %s are left", namespace)
	}
	records := shared.shell(t, "kubectl get storedimagestreams.storage.image.alauda.io -A -o jsonpath='{.items[*].metadata.namespace}'")
	if strings.Contains(records, namespace) {
		t.Errorf("stored records of %s are left", namespace)
	}
}

// Behaviour image-api 59. Behaviours operator 17 and 19.
func TestRemovedTakesTheDataPlaneAwayAndManagedBringsItBack(t *testing.T) {
	namespace := shared.namespace(t, "kept")
	auth := shared.pusher(t, namespace)
	digest := pushRandomImage(t, namespace+"/app:v1", auth)

	// The claim is the operator's own; Unmanaged is the documented way to keep its data.
	shared.shell(t, `kubectl patch configs.imageregistry.operator.alauda.io cluster \
  --type=merge -p '{"spec":{"storage":{"managementState":"Unmanaged"}}}'`)
	shared.waitHealthy(t)
	t.Cleanup(func() {
		shared.shell(t, `kubectl patch configs.imageregistry.operator.alauda.io cluster \
  --type=merge -p '{"spec":{"managementState":"Managed","storage":{"managementState":"Managed"}}}'`)
		shared.waitHealthy(t)
	})
	shared.shell(t, `kubectl patch configs.imageregistry.operator.alauda.io cluster \
  --type=merge \
  -p '{"spec":{"managementState":"Removed"}}'`)
	eventually(t, "Removed=True", func(ctx context.Context) error {
		config, err := shared.image.ImageregistryV1().Configs().Get(ctx, "cluster", metav1.GetOptions{})
		if err != nil {
			return err
		}
		var all []string
		for _, c := range config.Status.Conditions {
			all = append(all, fmt.Sprintf("%s=%s/%s", c.Type, c.Status, c.Reason))
			if c.Type == "Removed" && string(c.Status) == "True" {
				return nil
			}
		}
		return fmt.Errorf("conditions %s", strings.Join(all, " "))
	})
	out := shared.shell(t, "kubectl -n image-registry-system get deployment image-registry image-api-server --ignore-not-found")
	if out != "" {
		t.Errorf("Deployments are left:\n%s", out)
	}
	if out := shared.shell(t, "kubectl get apiservice v1.image.alauda.io --ignore-not-found"); out != "" {
		t.Errorf("the APIService is left:\n%s", out)
	}
	for _, node := range nodes(t) {
		left := shared.shell(t, fmt.Sprintf("devcluster exec %s -- sh -c 'grep image-registry /etc/hosts; find /etc/containerd/certs.d -name \"image-registry*\"' || true", node.Name))
		if left != "" {
			t.Errorf("node %s keeps\n%s", node.Name, left)
		}
	}
	shared.shell(t, "kubectl create namespace while-removed && kubectl delete namespace while-removed --timeout=120s")

	shared.shell(t, `kubectl patch configs.imageregistry.operator.alauda.io cluster \
  --type=merge \
  -p '{"spec":{"managementState":"Managed"}}'`)
	shared.shell(t, "kubectl -n image-registry-system wait --for=create deployment/image-registry --timeout=60s")
	shared.shell(t, "kubectl -n image-registry-system rollout status deployment/image-registry --timeout=300s")
	shared.waitHealthy(t)
	eventually(t, "pull after the return", func(ctx context.Context) error {
		_, err := remote.Head(shared.reference(t, namespace+"/app:v1"), shared.remoteOptions(t, auth)...)
		return err
	})
	if got := pullCompletely(t, namespace+"/app:v1", auth); got != digest {
		t.Errorf("got %s, want %s", got, digest)
	}
}

// acknowledged is a push that was answered with success.
type acknowledged struct {
	repository string
	digest     v1.Hash
}

// pushes is a client that pushes one image after the other and remembers what was acknowledged.
type pushes struct {
	acknowledged atomic.Int64
	done         chan []acknowledged
}

// startPushes pushes until the context ends; a push that fails is not repeated, the next one follows.
func startPushes(ctx context.Context, t *testing.T, namespace string, auth remote.Option) *pushes {
	p := &pushes{done: make(chan []acknowledged, 1)}
	go func() {
		var pushed []acknowledged
		defer func() { p.done <- pushed }()
		for i := 0; ctx.Err() == nil && i < 10000; i++ {
			repository := fmt.Sprintf("%s/app:v%d", namespace, i)
			image := randomImage(t)
			options := []remote.Option{remote.WithContext(ctx), remote.WithTransport(shared.transport), auth}
			if remote.Write(shared.reference(t, repository), image, options...) == nil {
				pushed = append(pushed, acknowledged{repository, digestOf(t, image)})
				p.acknowledged.Add(1)
			}
		}
	}()
	return p
}

// waitForMore waits until n further pushes were acknowledged.
func (p *pushes) waitForMore(t *testing.T, n int64) {
	t.Helper()
	target := p.acknowledged.Load() + n
	eventually(t, "further pushes", func(context.Context) error {
		if got := p.acknowledged.Load(); got < target {
			return fmt.Errorf("%d pushes acknowledged, want %d", got, target)
		}
		return nil
	})
}

func TestKillOfAnyPodDuringAPushLosesNoAcknowledgedImage(t *testing.T) {
	for _, component := range []string{"image-registry", "image-api-server", "node-ca", "cluster-image-registry-operator"} {
		t.Run(component, func(t *testing.T) {
			namespace := shared.namespace(t, "kill")
			auth := shared.pusher(t, namespace)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			client := startPushes(ctx, t, namespace, auth)
			for range 2 {
				client.waitForMore(t, 2) // so the kill comes in the middle of the work
				shared.shell(t, "kubectl -n image-registry-system delete pods -l app.kubernetes.io/name="+component+" --grace-period=0 --force 2>/dev/null")
				client.waitForMore(t, 5)
			}
			cancel()
			pushed := <-client.done
			for _, p := range pushed {
				if got := pullCompletely(t, p.repository, auth); got != p.digest {
					t.Errorf("%s: got %s, want %s", p.repository, got, p.digest)
				}
			}
			t.Logf("%d pushes were acknowledged", len(pushed))
			shared.waitHealthy(t)
		})
	}
}

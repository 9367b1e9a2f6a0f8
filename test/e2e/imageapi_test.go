//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// newHello returns the sample image, for two platforms, under a digest that it never had before.
func newHello(t *testing.T) v1.ImageIndex {
	t.Helper()
	return mutate.Annotations(sampleIndex(t), map[string]string{"made": time.Now().Format(time.RFC3339Nano)}).(v1.ImageIndex)
}

func pushHello(t *testing.T, repository string, auth remote.Option) string {
	t.Helper()
	index := newHello(t)
	if err := remote.WriteIndex(shared.reference(t, repository), index, shared.remoteOptions(t, auth)...); err != nil {
		t.Fatalf("push %s: %v", repository, err)
	}
	return digestOf(t, index).String()
}

// pullIndexCompletely downloads an index with all its images and returns its digest.
func pullIndexCompletely(t *testing.T, repository string, auth remote.Option) string {
	t.Helper()
	index, err := remote.Index(shared.reference(t, repository), shared.remoteOptions(t, auth)...)
	if err != nil {
		t.Fatalf("pull %s: %v", repository, err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatalf("pull %s: %v", repository, err)
	}
	name, _, _ := strings.Cut(repository, ":")
	for _, child := range manifest.Manifests {
		pullCompletely(t, name+"@"+child.Digest.String(), auth)
	}
	return digestOf(t, index).String()
}

// TestTagFollowsAnother: a tag that names another tag has, after each push, what that tag has.
//
// Behaviour image-api 17.
func TestTagFollowsAnother(t *testing.T) {
	namespace := shared.namespace(t, "follows")
	auth := shared.pusher(t, namespace)
	pushRandomImage(t, namespace+"/app:v1", auth)
	shared.shell(t, fmt.Sprintf(`kubectl -n %s patch imagestream app --type=merge \
  -p '{"spec":{"tags":[{"name":"stable","from":{"kind":"ImageStreamTag","name":"app:v1"}}]}}'`, namespace))
	second := pushRandomImage(t, namespace+"/app:v1", auth)
	out := shared.shell(t, fmt.Sprintf("kubectl -n %s get istag app:stable -o jsonpath='{.image.metadata.name}'", namespace))
	if out != second.String() {
		t.Errorf("app:stable is %s, want what app:v1 got, %s", out, second)
	}
	if got := pullCompletely(t, namespace+"/app:stable", auth); got != second {
		t.Errorf("pulled %s by the following tag, want %s", got, second)
	}
}

// TestDeploymentRollsBecauseItsTagMoved: the annotation is enough, no pipeline has to touch the Deployment.
//
// Behaviour image-api 48.
func TestDeploymentRollsBecauseItsTagMoved(t *testing.T) {
	namespace := shared.namespace(t, "trigger")
	auth := shared.pusher(t, namespace)
	pullSecretToken(t, namespace, "default") // Pods created before it would have none for life
	first := pushHello(t, namespace+"/web:live", auth)
	shared.shell(t, fmt.Sprintf(`kubectl -n %s apply -f - <<'END'
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  annotations:
    image.alauda.io/triggers: '[{"from":{"kind":"ImageStreamTag","name":"web:live"},"fieldPath":"spec.template.spec.containers[?(@.name==\"web\")].image"}]'
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: web, image: "localhost/not-yet:1"}]
END`, namespace))
	runs := func(digest string) {
		t.Helper()
		eventually(t, "Deployment web runs "+digest, func(ctx context.Context) error {
			deployment, err := shared.kube.AppsV1().Deployments(namespace).Get(ctx, "web", metav1.GetOptions{})
			if err != nil {
				return err
			}
			image := deployment.Spec.Template.Spec.Containers[0].Image
			if want := internalHost + "/" + namespace + "/web@" + digest; image != want {
				return fmt.Errorf("its image is %s, want %s", image, want)
			}
			if s := deployment.Status; s.ObservedGeneration < deployment.Generation || s.UpdatedReplicas != 1 || s.AvailableReplicas != 1 || s.Replicas != 1 {
				return fmt.Errorf("status %+v", s)
			}
			return nil
		})
	}
	runs(first)
	runs(pushHello(t, namespace+"/web:live", auth))
}

// TestShortNameIsLookedUp: with the documented setting, a Pod may name a stream of its namespace.
//
// Behaviour image-api 50.
func TestShortNameIsLookedUp(t *testing.T) {
	namespace := shared.namespace(t, "lookup")
	digest := pushHello(t, namespace+"/hello:v1", shared.pusher(t, namespace))
	shared.shell(t, fmt.Sprintf(`kubectl -n %s patch imagestream hello --type=merge -p '{"spec":{"lookupPolicy":{"local":true}}}'`, namespace))
	want := internalHost + "/" + namespace + "/hello@" + digest
	eventually(t, "the short name is resolved", func(context.Context) error {
		out, err := shared.tryShell(t, fmt.Sprintf("kubectl -n %s run hello --image=hello:v1 --restart=Never --dry-run=server -o jsonpath='{.spec.containers[0].image}'", namespace))
		if err == nil && out != want {
			err = fmt.Errorf("the image became %q, want %q", out, want)
		}
		return err
	})
}

// TestFullQuotaRefusesAPush: the message names the quota and how full it is.
//
// Behaviour image-api 53.
func TestFullQuotaRefusesAPush(t *testing.T) {
	namespace := shared.namespace(t, "quota")
	auth := shared.pusher(t, namespace)
	pushRandomImage(t, namespace+"/app:v1", auth)
	shared.shell(t, fmt.Sprintf("kubectl -n %s create quota tags --hard=alauda.io/image-tags=1", namespace))
	eventually(t, "the quota counts the tag", func(context.Context) error {
		out, err := shared.tryShell(t, fmt.Sprintf(`kubectl -n %s get quota tags -o jsonpath='{.status.used.alauda\.io/image-tags}'`, namespace))
		if err == nil && out != "1" {
			err = fmt.Errorf("used is %q, want 1", out)
		}
		return err
	})
	err := remote.Write(shared.reference(t, namespace+"/app:v2"), randomImage(t), shared.remoteOptions(t, auth)...)
	if err == nil {
		t.Fatal("the push passed the quota")
	}
	for _, want := range []string{"DENIED", "exceeded quota: tags", "requested: alauda.io/image-tags=1", "used: alauda.io/image-tags=1", "limited: alauda.io/image-tags=1"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the refusal does not say %q: %v", want, err)
		}
	}
}

// TestForeignManifestOpensNothing: who knows the digest of another tenant's layer, because he may look at the
// tenant's images, imports a manifest of his own that names it, and still does not get the layer.
//
// Behaviour image-api 56.
func TestForeignManifestOpensNothing(t *testing.T) {
	victim, attacker := shared.namespace(t, "victim"), shared.namespace(t, "attacker")
	pushRandomImage(t, victim+"/app:v1", shared.pusher(t, victim))
	auth := shared.pusher(t, attacker)
	layer := shared.shell(t, fmt.Sprintf("kubectl -n %s get istag app:v1 -o jsonpath='{.image.dockerImageLayers[0].name}={.image.dockerImageLayers[0].size}'", victim))
	digest, size, _ := strings.Cut(layer, "=")

	other := startSecondRegistry(t)
	login(t, attacker, other)
	config := other.PushBlob(t, "library/trap", "application/vnd.oci.image.config.v1+json", []byte(`{"architecture":"amd64","os":"linux"}`))
	manifest := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",`+
		`"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":%q,"size":%d},`+
		`"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":%q,"size":%s}]}`, config.Digest, config.Size, digest, size)
	other.Document("/v2/library/trap/manifests/v1", "application/vnd.oci.image.manifest.v1+json", nil, manifest)
	out := shared.shell(t, fmt.Sprintf(`kubectl -n %s create -o yaml -f - <<'END'
apiVersion: image.alauda.io/v1
kind: ImageStreamImport
metadata: {name: trap}
spec:
  import: true
  images:
  - from: {kind: DockerImage, name: "%s/library/trap:v1"}
    importPolicy: {insecure: true}
    referencePolicy: {type: Local}
END`, attacker, other.Host))
	if !strings.Contains(out, digest) {
		t.Fatalf("the import did not record the layer %s:\n%s", digest, out)
	}
	reference, err := name.NewDigest(shared.registry + "/" + attacker + "/trap@" + digest)
	if err != nil {
		t.Fatal(err)
	}
	blob, err := remote.Layer(reference, shared.remoteOptions(t, auth)...)
	if err == nil {
		content, failed := blob.Compressed()
		if failed == nil {
			_, failed = io.Copy(io.Discard, content)
		}
		err = failed
	}
	if err == nil {
		t.Errorf("the layer %s of namespace %s was read through namespace %s", digest, victim, attacker)
	}
}

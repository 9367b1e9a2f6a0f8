//go:build e2e

package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"image.alauda.io/registry/test/nodeimages"
)

const (
	storeAccess = "0123456789"
	storeSecret = "@secret: of/the+tests#1"
)

// Behaviours operator 35, 46, 52, 53 and 88: the documented steps copy the content of the claim into a bucket behind a
// private CA and move the registry there; what was and what is pushed is pulled from the bucket, by a node redirected to
// it; an outage of the bucket restarts nothing and heals; and the way back finds the images of the claim.
func TestStorageInABucketAndBack(t *testing.T) {
	namespace := shared.namespace(t, "bucket")
	auth := shared.pusher(t, namespace)
	onClaim := pushRandomImage(t, namespace+"/claim:v1", auth)
	pushSample(t, namespace+"/copied:v1", auth)

	endpoint, ca := startStore(t, namespace)
	before := shared.shell(t, "kubectl get configs.imageregistry.operator.alauda.io cluster -o jsonpath='{.spec.storage}'")
	var storage map[string]any
	if err := json.Unmarshal([]byte(before), &storage); err != nil {
		t.Fatalf("spec.storage %q: %v", before, err)
	}
	storage["s3"] = nil
	back, err := json.Marshal(map[string]any{"spec": map[string]any{"storage": storage, "readOnly": nil}})
	if err != nil {
		t.Fatal(err)
	}
	returnToClaim := func() {
		shared.shell(t, "kubectl patch configs.imageregistry.operator.alauda.io cluster --type=merge -p '"+string(back)+"'")
		waitStorage(t, "filesystem")
		shared.waitHealthy(t)
		registryPod(t)
	}
	t.Cleanup(func() {
		returnToClaim()
		deployments := shared.kube.AppsV1().Deployments(systemNamespace)
		rolled, err := deployments.Get(context.Background(), "image-registry", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		out := shared.shell(t, "kubectl -n image-registry-system delete --ignore-not-found secret/image-registry-private-configuration-user configmap/s3-ca")
		if !strings.Contains(out, "image-registry-private-configuration-user") {
			return
		}
		// The keys of that Secret are among those of the registry, which starts again without them.
		eventually(t, "the registry is rolled", func(ctx context.Context) error {
			now, err := deployments.Get(ctx, "image-registry", metav1.GetOptions{})
			if err == nil && now.Generation == rolled.Generation {
				err = fmt.Errorf("generation %d", now.Generation)
			}
			return err
		})
		shared.shell(t, "kubectl -n image-registry-system rollout status deployment/image-registry --timeout=120s")
		shared.waitHealthy(t)
		registryPod(t)
	})
	if problems := moveToStore(t, endpoint, ca); strings.Contains(problems, namespace) {
		t.Errorf("after the copy something is missing:\n%s", problems)
	}
	// This machine does not reach the address that blobs are redirected to; manifests come through the registry.
	copied, err := remote.Get(shared.reference(t, namespace+"/claim:v1"), shared.remoteOptions(t, auth)...)
	if err != nil || copied.Digest != onClaim {
		t.Errorf("the bucket has %+v (%v), want %s as it was on the claim", copied, err, onClaim)
	}
	pullSecretToken(t, namespace, "default")
	runPod(t, namespace, "copied", nodes(t)[0].Name, internalHost+"/"+namespace+"/copied:v1")
	waitReady(t, namespace, "copied")
	pod := registryPod(t)
	if state := shared.shell(t, `kubectl get configs.imageregistry.operator.alauda.io cluster -o jsonpath='{.status.conditions[?(@.type=="StorageReady")].status}'`); state != "True" {
		t.Errorf("StorageReady is %q", state)
	}

	pushSample(t, namespace+"/hello:v1", auth)
	runPod(t, namespace, "from-bucket", nodes(t)[0].Name, internalHost+"/"+namespace+"/hello:v1")
	waitReady(t, namespace, "from-bucket")

	pointStore(t, namespace, "nowhere")
	eventually(t, "the registry notices the outage", func(ctx context.Context) error {
		now, err := shared.kube.CoreV1().Pods(systemNamespace).Get(ctx, pod.Name, metav1.GetOptions{})
		if err == nil && podReady(now) {
			err = fmt.Errorf("Pod %s is still ready", pod.Name)
		}
		return err
	})
	pointStore(t, namespace, "s3")
	shared.waitHealthy(t)
	if now := registryPod(t); now.UID != pod.UID || now.Status.ContainerStatuses[0].RestartCount != pod.Status.ContainerStatuses[0].RestartCount {
		t.Errorf("an outage of the storage replaced or restarted the registry: %s, %d restarts", now.Name, now.Status.ContainerStatuses[0].RestartCount)
	}

	returnToClaim()
	if got := pullCompletely(t, namespace+"/claim:v1", auth); got != onClaim {
		t.Errorf("the claim has %s, want %s", got, onClaim)
	}
}

// moveToStore follows the steps of configure.md and operate.md, word for word but for the address, the keys and the
// image of the copying program, and returns what the registry then misses.
func moveToStore(t *testing.T, endpoint, ca string) (problems string) {
	t.Helper()
	const example = "https://s3.example.com:9000"
	image := nodeimages.Load(t, "rclone", filepath.Join(shared.root, "_output", "bin", "rclone"))
	t.Cleanup(func() {
		shared.shell(t, "kubectl -n image-registry-system delete pod copy-images --ignore-not-found --grace-period=1")
	})
	for _, step := range []string{
		documented(t, "docs/configure.md", "REGISTRY_STORAGE_S3_ACCESSKEY", "<access key>", storeAccess, "<secret key>", storeSecret, "=ca.crt", "="+ca),
		documented(t, "docs/operate.md", `"readOnly":true`),
		documented(t, "docs/operate.md", "name: copy-images", example, endpoint, "docker.io/rclone/rclone:1.71.2", image, "--timeout=12h", "--timeout=180s"),
		documented(t, "docs/configure.md", `"regionEndpoint"`, example, endpoint),
		documented(t, "docs/operate.md", "for=condition=StorageReady"),
	} {
		out, err := shared.tryShell(t, step)
		t.Logf("$ %s\n%s", step, out)
		if err != nil {
			pod, _ := shared.tryShell(t, "kubectl -n image-registry-system logs copy-images --tail=20; kubectl -n image-registry-system describe pod copy-images | tail -15")
			t.Fatalf("%v\n%s", err, pod)
		}
	}
	waitStorage(t, "s3")
	registryPod(t)
	problems = shared.shell(t, documented(t, "docs/operate.md", "-restore-mode=check-database"))
	t.Logf("after the copy: %s", problems)
	shared.shell(t, documented(t, "docs/operate.md", `"readOnly":false`))
	shared.waitHealthy(t)
	return problems
}

// waitStorage waits until the one Pod of the registry runs on a driver.
func waitStorage(t *testing.T, driver string) {
	t.Helper()
	eventually(t, "the registry runs on "+driver, func(ctx context.Context) error {
		deployment, err := shared.kube.AppsV1().Deployments(systemNamespace).Get(ctx, "image-registry", metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, variable := range deployment.Spec.Template.Spec.Containers[0].Env {
			if variable.Name == "REGISTRY_STORAGE" && variable.Value == driver && deployment.Status.ObservedGeneration == deployment.Generation {
				return nil
			}
		}
		config, err := shared.image.ImageregistryV1().Configs().Get(ctx, "cluster", metav1.GetOptions{})
		if err != nil {
			return err
		}
		var text []string
		for _, c := range config.Status.Conditions {
			text = append(text, fmt.Sprintf("%s=%s/%s %s", c.Type, c.Status, c.Reason, c.Message))
		}
		return fmt.Errorf("conditions: %s", strings.Join(text, "; "))
	})
}

func podReady(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// registryPod is the one that serves, and the only one that is left: a Pod that ends serves on for a while from the
// storage that it began with, to clients that keep their connection.
func registryPod(t *testing.T) *corev1.Pod {
	t.Helper()
	var found *corev1.Pod
	eventually(t, "one Pod of the registry serves", func(ctx context.Context) error {
		list, err := shared.kube.CoreV1().Pods(systemNamespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=image-registry"})
		if err != nil {
			return err
		}
		if len(list.Items) != 1 || !podReady(&list.Items[0]) {
			return fmt.Errorf("there are %d Pods, or the one is not ready", len(list.Items))
		}
		found = &list.Items[0]
		return nil
	})
	shared.transport.(*http.Transport).CloseIdleConnections()
	// A ready Pod is not yet one that the addresses of its Service lead to.
	eventually(t, "the Service leads to the Pod", func(ctx context.Context) error {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+shared.registry+"/v2/", nil)
		if err != nil {
			return err
		}
		answer, err := shared.transport.RoundTrip(r)
		if err != nil {
			return err
		}
		return answer.Body.Close()
	})
	return found
}

// startStore runs an S3 server with bucket "images" in a Pod. Its address is that of the Service, because nodes
// are redirected to it and do not know the names of Services.
func startStore(t *testing.T, namespace string) (endpoint, caFile string) {
	t.Helper()
	image := nodeimages.Load(t, "versitygw", filepath.Join(shared.root, "_output", "bin", "versitygw"))
	service, err := shared.kube.CoreV1().Services(namespace).Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "s3"},
		Spec: corev1.ServiceSpec{
			Selector: map[string]string{"app": "s3"},
			Ports:    []corev1.ServicePort{{Port: 9000, TargetPort: intstr.FromInt32(9000)}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	certificate, key := storePair(t, net.ParseIP(service.Spec.ClusterIP))
	pair := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "s3-tls"}, Data: map[string][]byte{"tls.crt": certificate, "tls.key": key}}
	if _, err := shared.kube.CoreV1().Secrets(namespace).Create(t.Context(), pair, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	empty := corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "s3", Labels: map[string]string{"app": "s3"}},
		Spec: corev1.PodSpec{
			TerminationGracePeriodSeconds: ptr.To[int64](1),
			SecurityContext:               &corev1.PodSecurityContext{FSGroup: ptr.To[int64](1001)},
			Containers: []corev1.Container{{
				Name: "s3", Image: image, ImagePullPolicy: corev1.PullNever,
				Args:           []string{"--port", ":9000", "--cert", "/tls/tls.crt", "--key", "/tls/tls.key", "--quiet", "posix", "--sidecar", "/metadata", "/buckets"},
				Env:            []corev1.EnvVar{{Name: "ROOT_ACCESS_KEY", Value: storeAccess}, {Name: "ROOT_SECRET_KEY", Value: storeSecret}},
				ReadinessProbe: &corev1.Probe{PeriodSeconds: 1, ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(9000)}}},
				VolumeMounts: []corev1.VolumeMount{
					{Name: "buckets", MountPath: "/buckets"}, {Name: "images", MountPath: "/buckets/images"}, {Name: "metadata", MountPath: "/metadata"}, {Name: "tls", MountPath: "/tls", ReadOnly: true},
				},
			}},
			Volumes: []corev1.Volume{
				{Name: "buckets", VolumeSource: empty}, {Name: "images", VolumeSource: empty}, {Name: "metadata", VolumeSource: empty},
				{Name: "tls", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "s3-tls"}}},
			},
		},
	}
	if _, err := shared.kube.CoreV1().Pods(namespace).Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	waitReady(t, namespace, "s3")
	caFile = filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(caFile, certificate, 0o600); err != nil {
		t.Fatal(err)
	}
	return "https://" + net.JoinHostPort(service.Spec.ClusterIP, "9000"), caFile
}

// pointStore sends the Service of the store to Pods with a label, or to none.
func pointStore(t *testing.T, namespace, app string) {
	t.Helper()
	patch := []byte(`{"spec":{"selector":{"app":"` + app + `"}}}`)
	if _, err := shared.kube.CoreV1().Services(namespace).Patch(t.Context(), "s3", types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
}

// storePair is a certificate for an address that is its own authority, and its key.
func storePair(t *testing.T, address net.IP) (certificate, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "s3"}, IPAddresses: []net.IP{address},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded})
}

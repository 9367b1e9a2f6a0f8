//go:build component

package operator

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/app"
	"image.alauda.io/registry/pkg/operator/render"
)

// onS3 is an operator with an object store.
type onS3 struct {
	*cluster
	store *objectStore
}

// startOnS3 runs an operator that tests storage for at most 4 seconds and looks at it every second.
func startOnS3(t *testing.T) *onS3 {
	t.Helper()
	c := &onS3{cluster: install(t), store: startObjectStore(t)}
	options := app.DefaultOptions()
	options.MetricsAddress, options.HealthAddress, options.LeaderElect = "127.0.0.1:0", "127.0.0.1:0", false
	options.StorageCheck = app.StorageCheckOptions{Deadline: 4 * time.Second, List: time.Second}
	options.Settings = render.Settings{
		Namespace: ns, ClusterDomain: "cluster.local", Version: "v1.2.3",
		Images: render.Images{Registry: "r:1", APIServer: "a:1", NodeCA: "n:1", Pruner: "p:1"},
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- app.RunWith(ctx, options, rest.CopyConfig(c.account), func(int) {}) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the operator ended with: %v", err)
		}
	})
	return c
}

// merge sends a merge patch for spec.storage, as the documentation does.
func (c *onS3) merge(storage map[string]any) {
	c.t.Helper()
	body, err := json.Marshal(map[string]any{"spec": map[string]any{"managementState": "Managed", "storage": storage}})
	if err != nil {
		c.t.Fatal(err)
	}
	c.eventually("the patch is accepted", func() (bool, string) {
		_, err := c.registry.ImageregistryV1().Configs().Patch(c.t.Context(), registryv1.SingletonName, types.MergePatchType, body, metav1.PatchOptions{})
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			c.t.Fatal(err)
		}
		return err == nil, "no Config"
	})
}

func (c *onS3) bucket(change map[string]any) map[string]any {
	s3 := map[string]any{"bucket": "images", "regionEndpoint": c.store.url, "rootDirectory": nil, "trustedCA": map[string]any{"name": "s3-ca"}}
	for key, value := range change {
		s3[key] = value
	}
	return map[string]any{"pvc": nil, "emptyDir": nil, "s3": s3}
}

// credentials writes the user's Secret.
func (c *onS3) credentials(values map[string]string) {
	c.t.Helper()
	secrets := c.kube.CoreV1().Secrets(ns)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: registryv1.SecretPrivateConfigUser}, StringData: values}
	if err := secrets.Delete(c.t.Context(), secret.Name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		c.t.Fatal(err)
	}
	if _, err := secrets.Create(c.t.Context(), secret, metav1.CreateOptions{}); err != nil {
		c.t.Fatal(err)
	}
}

func keysOf(access, secret string) map[string]string {
	return map[string]string{"REGISTRY_STORAGE_S3_ACCESSKEY": access, "REGISTRY_STORAGE_S3_SECRETKEY": secret}
}

// says waits for a condition whose message has all texts, and none of the secrets.
func (c *onS3) says(kind string, status registryv1.ConditionStatus, reason string, texts ...string) {
	c.t.Helper()
	c.waitFor(kind, status, reason)
	c.eventually("condition "+kind+" has its message", func() (bool, string) {
		config := c.config()
		for _, secret := range []string{s3Secret, "guessed-by-somebody"} {
			if strings.Contains(summary(config), secret) {
				c.t.Fatalf("a condition shows the secret: %s", summary(config))
			}
		}
		for _, condition := range config.Status.Conditions {
			if condition.Type != kind || condition.Reason != reason {
				continue
			}
			for _, text := range texts {
				if !strings.Contains(condition.Message, text) {
					return false, summary(config)
				}
			}
			return true, ""
		}
		return false, summary(config)
	})
}

func (c *onS3) deployment() *appsv1.Deployment {
	c.t.Helper()
	deployment, err := c.kube.AppsV1().Deployments(ns).Get(c.t.Context(), registryv1.RegistryName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return deployment
}

func variable(deployment *appsv1.Deployment, name string) string {
	for _, one := range deployment.Spec.Template.Spec.Containers[0].Env {
		if one.Name == name {
			return one.Value
		}
	}
	return ""
}

func (c *onS3) private() string {
	c.t.Helper()
	secret, err := c.kube.CoreV1().Secrets(ns).Get(c.t.Context(), registryv1.SecretPrivateConfig, metav1.GetOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	return string(secret.Data["credentials"])
}

// Behaviours 46, 47, 48, 49 and 50: from wrong keys to a registry on S3 with a private CA, and what is refused
// while it runs.
func TestS3WithAPrivateCA(t *testing.T) {
	t.Parallel()
	c := startOnS3(t)
	c.credentials(keysOf(s3Access, "guessed-by-somebody"))
	patch := c.bucket(nil)
	patch["managementState"] = "Unmanaged"
	c.merge(patch)
	c.says("Degraded", "True", "TrustedCANotFound", "ConfigMap s3-ca", ns)
	ca := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "s3-ca"}, Data: map[string]string{"ca.crt": c.store.ca}}
	if _, err := c.kube.CoreV1().ConfigMaps(ns).Create(t.Context(), ca, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.says("Degraded", "True", "StorageAccessDenied", `bucket "images"`, "write", "SignatureDoesNotMatch")
	c.says("StorageExists", "False", "AccessDenied")
	c.says("StorageReady", "False", "StorageAccessDenied")
	if c.deployment() != nil {
		t.Fatal("the registry runs on a storage that refuses it")
	}

	c.credentials(keysOf(s3Access, s3Secret))
	c.waitFor("StorageReady", "True", "Ready")
	c.waitFor("StorageExists", "True", "BucketExists")
	c.eventually("the registry is rolled out", func() (bool, string) { return c.deployment() != nil, summary(c.config()) })
	running := c.deployment()
	if variable(running, "REGISTRY_STORAGE_S3_REGION") != "us-east-1" || variable(running, "REGISTRY_STORAGE_S3_FORCEPATHSTYLE") != "true" {
		t.Errorf("environment %v", running.Spec.Template.Spec.Containers[0].Env)
	}
	if got := c.private(); !strings.Contains(got, "= "+s3Secret+"\n") {
		t.Error("the credentials did not reach the registry unchanged")
	}
	certificates, err := c.kube.CoreV1().ConfigMaps(ns).Get(t.Context(), registryv1.ConfigMapCertificates, metav1.GetOptions{})
	if err != nil || certificates.Data[registryv1.KeyStorageCABundle] != c.store.ca || !strings.Contains(certificates.Data["image-registry."+ns+".svc..5000"], c.store.ca) {
		t.Errorf("the CA is not published: %v %v", err, certificates.Data)
	}
	c.eventually("the effective storage is in the status", func() (bool, string) {
		effective := c.config().Status.Storage
		return effective != nil && effective.S3 != nil && effective.S3.Region == "us-east-1" && effective.ManagementState == "Unmanaged", summary(c.config())
	})

	unchanged := func(what string) {
		t.Helper()
		if now := c.deployment(); now == nil || now.Generation != running.Generation {
			t.Errorf("%s: the running registry was touched", what)
		}
		if got := c.private(); !strings.Contains(got, s3Secret) {
			t.Errorf("%s: the credentials of the running registry were touched", what)
		}
	}
	for _, state := range []string{"Unmanaged", "Managed"} {
		patch := c.bucket(map[string]any{"bucket": "nowhere"})
		patch["managementState"] = state
		c.merge(patch)
		c.says("Degraded", "True", "BucketNotFound", `bucket "nowhere"`, "NoSuchBucket")
		c.says("StorageExists", "False", "BucketNotFound")
		if _, err := os.Stat(filepath.Join(c.store.directory, "nowhere")); err == nil {
			t.Errorf("%s: the bucket was created", state)
		}
		unchanged("missing bucket, " + state)
		c.merge(c.bucket(nil))
		c.waitFor("StorageExists", "True", "BucketExists")
	}
	c.merge(c.bucket(map[string]any{"bucket": nil}))
	c.says("Degraded", "True", "InvalidStorageConfiguration", "spec.storage.s3.bucket")
	unchanged("no bucket")
	c.merge(c.bucket(nil))
	c.credentials(map[string]string{"REGISTRY_STORAGE_S3_ACCESSKEY": s3Access})
	c.says("Degraded", "True", "StorageCredentialsNotFound", "REGISTRY_STORAGE_S3_SECRETKEY", registryv1.SecretPrivateConfigUser)
	unchanged("a key is missing")
	c.credentials(keysOf(s3Access, s3Secret))
	c.waitFor("StorageReady", "True", "Ready")
	c.edit(func(config *registryv1.Config) { config.Spec.ManagementState = registryv1.Removed })
	c.eventually("the nodes are asked to clean up", func() (bool, string) { return c.reportCleanNodes(), summary(c.config()) })
	c.waitFor("Removed", "True", "Removed")
	if _, err := os.Stat(filepath.Join(c.store.directory, "images")); err != nil {
		t.Errorf("Removed took the bucket away: %v", err)
	}
	if left := c.store.left(t); len(left) > 0 {
		t.Errorf("left of the tests: %v", left)
	}
}

// Behaviours 50 and 53: each step that fails is named in the provider's words; an endpoint that hangs ends at the
// deadline; one that is down touches nothing and heals.
func TestS3InTrouble(t *testing.T) {
	t.Parallel()
	c := startOnS3(t)
	ca := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "s3-ca"}, Data: map[string]string{"ca-bundle.crt": c.store.ca}}
	if _, err := c.kube.CoreV1().ConfigMaps(ns).Create(t.Context(), ca, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.credentials(keysOf(s3Access, s3Secret))
	c.merge(c.bucket(nil))
	c.waitFor("StorageReady", "True", "Ready")
	c.eventually("the registry is rolled out", func() (bool, string) { return c.deployment() != nil, summary(c.config()) })
	c.eventually("managementState is written back", func() (bool, string) {
		return c.config().Spec.Storage.ManagementState == registryv1.Unmanaged, string(c.config().Spec.Storage.ManagementState)
	})
	running := c.deployment()

	object := func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/object") }
	for _, test := range []struct {
		step    string
		applies func(*http.Request) bool
	}{
		{"write", func(r *http.Request) bool { return r.Method == http.MethodPut && object(r) }},
		{"read", func(r *http.Request) bool {
			return r.Method == http.MethodGet && object(r) && r.Header.Get("Range") == "bytes=0-"
		}},
		{"range read", func(r *http.Request) bool {
			return r.Method == http.MethodGet && object(r) && r.Header.Get("Range") != "bytes=0-"
		}},
		{"list", func(r *http.Request) bool {
			return r.Method == http.MethodGet && r.URL.Query().Get("delimiter") == "/" && r.URL.Query().Get("prefix") != ""
		}},
		{"multipart", func(r *http.Request) bool { return r.Method == http.MethodPost && r.URL.Query().Has("uploadId") }},
		{"delete", func(r *http.Request) bool { return r.Method == http.MethodPost && r.URL.Query().Has("delete") }},
	} {
		c.store.make(refusing(test.applies))
		c.merge(c.bucket(map[string]any{"rootDirectory": strings.ReplaceAll(test.step, " ", "-")}))
		c.says("StorageReady", "False", "StoragePreflightFailed", `"`+test.step+`"`, "OperationAborted", "says the test to ***")
		c.waitFor("Degraded", "True", "StoragePreflightFailed")
		if test.step == "delete" { // what could not be removed goes with the next test
			c.store.make(nil)
		}
	}
	c.store.make(all(hang))
	c.merge(c.bucket(map[string]any{"rootDirectory": "hanging"}))
	c.says("StorageReady", "False", "StoragePreflightFailed", "did not answer within 4s")
	if now := c.deployment(); now.Generation != running.Generation {
		t.Error("the running registry was touched")
	}
	c.store.make(nil)
	c.merge(c.bucket(nil))
	c.waitFor("StorageReady", "True", "Ready")

	c.store.make(all(cut))
	c.waitFor("StorageReady", "False", "StoragePreflightFailed")
	c.waitFor("StorageExists", "Unknown", "UnknownError")
	c.waitFor("Progressing", "True", "Error")
	if now := c.deployment(); now.Generation != running.Generation {
		t.Error("an outage touched the running registry")
	}
	c.store.make(nil)
	c.waitFor("StorageReady", "True", "Ready")
	c.waitFor("StorageExists", "True", "BucketExists")
}

// Behaviour 52: to a claim and back. The lock keeps the storage, no data is touched, and it is told of.
func TestSwitchingBetweenS3AndAClaim(t *testing.T) {
	t.Parallel()
	c := startOnS3(t)
	ca := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "s3-ca"}, Data: map[string]string{"ca-bundle.crt": c.store.ca}}
	if _, err := c.kube.CoreV1().ConfigMaps(ns).Create(t.Context(), ca, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	kept := filepath.Join(c.store.directory, "images", "docker", "kept")
	if err := os.MkdirAll(filepath.Dir(kept), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(kept, []byte("data"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.credentials(keysOf(s3Access, s3Secret))
	c.merge(c.bucket(nil))
	onStorage := func(kind string) {
		t.Helper()
		c.eventually("the registry runs on "+kind, func() (bool, string) {
			deployment := c.deployment()
			config := c.config()
			effective := config.Status.Storage // the lock and the events compare with it
			known := effective != nil && (effective.S3 != nil) == (kind == "s3")
			return known && deployment != nil && variable(deployment, "REGISTRY_STORAGE") == kind, summary(config)
		})
	}
	onStorage("s3")

	c.edit(func(config *registryv1.Config) {
		config.Annotations = map[string]string{registryv1.StorageLockAnnotation: "true"}
	})
	claim := map[string]any{"s3": nil, "managementState": "Managed", "pvc": map[string]any{"claim": "image-registry-storage"}}
	c.merge(claim)
	c.says("Degraded", "True", "StorageChangeBlocked", registryv1.StorageLockAnnotation)
	if variable(c.deployment(), "REGISTRY_STORAGE") != "s3" {
		t.Error("the lock did not hold")
	}
	c.edit(func(config *registryv1.Config) { config.Annotations = nil })
	onStorage("filesystem")
	c.eventually("the test of the bucket is not shown any longer", func() (bool, string) {
		return !strings.Contains(summary(c.config()), "StorageReady"), summary(c.config())
	})
	if c.private() != "" {
		t.Error("credentials that nobody needs are still with the registry")
	}
	c.merge(c.bucket(nil))
	onStorage("s3")
	c.eventually("each change is told of", func() (bool, string) {
		events, err := c.kube.CoreV1().Events("").List(t.Context(), metav1.ListOptions{FieldSelector: "reason=StorageBackendChanged"})
		if err != nil {
			return false, err.Error()
		}
		var told []string
		for _, event := range events.Items {
			told = append(told, event.Message)
		}
		text := strings.Join(told, "\n")
		return strings.Contains(text, "to PVC/image-registry-storage") && strings.Contains(text, "from PVC/image-registry-storage to S3/"), text
	})
	if _, err := c.kube.CoreV1().PersistentVolumeClaims(ns).Get(t.Context(), "image-registry-storage", metav1.GetOptions{}); err != nil {
		t.Errorf("the claim is gone: %v", err)
	}
	if content, err := os.ReadFile(kept); err != nil || string(content) != "data" {
		t.Errorf("the data in the bucket was touched: %v", err)
	}
}

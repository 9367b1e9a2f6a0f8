//go:build component

package operator

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	imageapiserver "image.alauda.io/registry/pkg/imageapiserver/app"
	"image.alauda.io/registry/pkg/operator/apply"
	"image.alauda.io/registry/test/selfsigned"
)

// etcdByTLS is the etcd of the control plane behind an end of TLS that lets one client in.
type etcdByTLS struct {
	url    string
	secret map[string][]byte
}

func startEtcdByTLS(t *testing.T, backend string) *etcdByTLS {
	t.Helper()
	issue := func(serial int64) (certificate, key []byte) {
		certificate, key, err := selfsigned.Issue(serial)
		if err != nil {
			t.Fatal(err)
		}
		return certificate, key
	}
	serverPEM, serverKey := issue(1)
	clientPEM, clientKey := issue(2)
	server, err := tls.X509KeyPair(serverPEM, serverKey)
	if err != nil {
		t.Fatal(err)
	}
	allowed, _ := pem.Decode(clientPEM)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{server}, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS12, ClientAuth: tls.RequireAnyClientCert,
		VerifyPeerCertificate: func(raw [][]byte, _ [][]*x509.Certificate) error {
			if !bytes.Equal(raw[0], allowed.Bytes) {
				return os.ErrPermission
			}
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	var open sync.WaitGroup
	t.Cleanup(func() { listener.Close(); open.Wait() })
	ctx := t.Context()
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			open.Go(func() { forward(ctx, client, strings.TrimPrefix(backend, "http://")) })
		}
	}()
	return &etcdByTLS{url: "https://" + listener.Addr().String(), secret: map[string][]byte{"ca.crt": serverPEM, "tls.crt": clientPEM, "tls.key": clientKey}}
}

// forward copies both ways until either end, or the test, ends.
func forward(ctx context.Context, client net.Conn, address string) {
	defer client.Close()
	server, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer server.Close()
	stop := context.AfterFunc(ctx, func() { client.Close(); server.Close() })
	defer stop()
	done := make(chan struct{}, 2)
	for _, pair := range [][2]net.Conn{{client, server}, {server, client}} {
		go func() {
			_, _ = io.Copy(pair[0], pair[1])
			pair[0].Close()
			done <- struct{}{}
		}()
	}
	<-done
	<-done
}

// The metadata goes to an etcd, of whose settings image-api-server itself makes use here, and nowhere else without a
// word of the administrator.
func TestImageMetadataInAnEtcd(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.waitFor(registryv1.ConditionRemoved, registryv1.ConditionTrue, registryv1.ReasonRemoved)
	etcd := startEtcdByTLS(t, c.plane.EtcdEndpoint)
	records := apply.Ref{Kind: "CustomResourceDefinition", Name: "storedimages.storage.image.alauda.io"}
	guard := apply.Ref{Kind: "ValidatingAdmissionPolicy", Name: "image-storage-guard.image.alauda.io"}
	says := func(reason, text string) {
		t.Helper()
		c.eventually(reason+" with "+text, func() (bool, string) {
			got := conditionOf(c.config(), registryv1.ConditionDegraded)
			return got.Reason == reason && strings.Contains(got.Message, text), summary(c.config())
		})
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "image-etcd"}, Data: map[string][]byte{"ca.crt": etcd.secret["ca.crt"]}}
	if _, err := c.kube.CoreV1().Secrets(ns).Create(t.Context(), secret, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.edit(func(config *registryv1.Config) {
		onEmptyDir(config)
		config.Spec.ImageAPI.Storage = registryv1.ImageStorageSpec{Type: registryv1.ImageStorageEtcd, Etcd: &registryv1.EtcdSpec{
			Endpoints: []string{etcd.url}, SecretName: "image-etcd", Prefix: "/images/of/this",
		}}
	})
	says(registryv1.ReasonImageAPIStorageNotConfigured, "lacks key tls.crt")
	secret.Data = etcd.secret
	if _, err := c.kube.CoreV1().Secrets(ns).Update(t.Context(), secret, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	server := c.imageAPIServer("--etcd-servers=" + etcd.url)
	c.eventually("the status names the place", func() (bool, string) {
		return c.config().Status.ImageAPIStorage == "Etcd/"+etcd.url+"/images/of/this", c.config().Status.ImageAPIStorage
	})
	for _, ref := range []apply.Ref{records, guard} {
		if c.get(ref) != nil {
			t.Errorf("%s exists, though nothing lies in the cluster", ref)
		}
	}

	arguments := etcdArguments(t, server, etcd.secret)
	verify := func(arguments []string) (int, string) {
		var out, errs bytes.Buffer
		code := imageapiserver.Run(t.Context(), append([]string{"storage", "verify"}, arguments...), &out, &errs)
		return code, out.String() + errs.String()
	}
	if code, output := verify(arguments); code != 0 {
		t.Errorf("image-api-server with the arguments of its Deployment: code %d: %s", code, output)
	}

	c.edit(func(config *registryv1.Config) {
		config.Spec.ImageAPI.Storage.Etcd.Endpoints = []string{"https://198.18.0.9:2379"}
	})
	says(registryv1.ReasonImageAPIStorageChange, registryv1.AllowImageStorageChangeAnnotation)
	if now := c.imageAPIServer("--etcd-servers=" + etcd.url); now.GetUID() != server.GetUID() {
		t.Error("the server was replaced though the change was refused")
	}
	c.edit(func(config *registryv1.Config) {
		config.Annotations = map[string]string{registryv1.AllowImageStorageChangeAnnotation: "CRD"}
		config.Spec.ImageAPI.Storage = registryv1.ImageStorageSpec{Type: registryv1.ImageStorageCRD}
	})
	if now := c.imageAPIServer("--image-storage=crd"); now.GetUID() == server.GetUID() {
		t.Error("servers of both places ran at the same time")
	}
	for _, ref := range []apply.Ref{records, guard} {
		c.exists(ref)
	}
	c.eventually("the count of the records is told", func() (bool, string) {
		config := c.config()
		near := conditionOf(config, registryv1.ConditionImageStorageNearLimit)
		return config.Status.ImageAPIStorage == "CRD" && near.Status == registryv1.ConditionFalse, summary(config)
	})
}

// imageAPIServer waits for the Deployment with an argument.
func (c *cluster) imageAPIServer(argument string) *unstructured.Unstructured {
	c.t.Helper()
	var found *unstructured.Unstructured
	c.eventually("image-api-server runs with "+argument, func() (bool, string) {
		found = c.get(apply.Ref{Kind: "Deployment", Namespace: ns, Name: registryv1.ImageAPIName})
		return found != nil && found.GetDeletionTimestamp() == nil && slices.Contains(argumentsOf(found), argument), summary(c.config())
	})
	return found
}

func argumentsOf(deployment *unstructured.Unstructured) []string {
	containers, _, _ := unstructured.NestedSlice(deployment.Object, "spec", "template", "spec", "containers")
	first, _ := containers[0].(map[string]any)
	arguments, _, _ := unstructured.NestedStringSlice(first, "args")
	return arguments
}

// etcdArguments are those about the storage, with the Secret where a Pod would have it mounted.
func etcdArguments(t *testing.T, deployment *unstructured.Unstructured, secret map[string][]byte) []string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range secret {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out []string
	for _, argument := range argumentsOf(deployment) {
		if strings.HasPrefix(argument, "--etcd-") || strings.HasPrefix(argument, "--image-storage") {
			out = append(out, strings.ReplaceAll(argument, "/var/run/secrets/etcd", dir))
		}
	}
	return out
}

// An ImagePruner that cannot be decoded is named in its conditions, and its CronJob stays as it is.
func TestAStoredImagePrunerThatCannotBeRead(t *testing.T) {
	t.Parallel()
	c := start(t)
	cronJob := apply.Ref{Kind: "CronJob", Namespace: ns, Name: registryv1.PrunerName}
	c.exists(cronJob)
	pruners := registryv1.SchemeGroupVersion.WithResource("imagepruners")
	c.open(pruners.Resource)
	before := c.get(cronJob).GetGeneration()
	c.eventually("what cannot be decoded is stored", func() (bool, string) {
		_, err := c.dynamic.Resource(pruners).Patch(t.Context(), registryv1.SingletonName, types.MergePatchType, []byte(`{"spec":{"keepTagRevisions":"three"}}`), metav1.PatchOptions{})
		if err != nil {
			return false, err.Error()
		}
		return true, ""
	})
	condition := func() string {
		object, err := c.dynamic.Resource(pruners).Get(t.Context(), registryv1.SingletonName, metav1.GetOptions{})
		if err != nil {
			return err.Error()
		}
		return conditionTexts(object, registryv1.ConditionPrunerDegraded)
	}
	c.eventually("the fault is named", func() (bool, string) {
		text := condition()
		return strings.HasPrefix(text, "True/"+registryv1.ReasonVerificationFailed) && strings.Contains(text, "ImagePruner cluster cannot be read"), text
	})
	if after := c.get(cronJob).GetGeneration(); after != before {
		t.Errorf("the CronJob was changed: generation %d, before %d", after, before)
	}
	if _, err := c.dynamic.Resource(pruners).Patch(t.Context(), registryv1.SingletonName, types.MergePatchType, []byte(`{"spec":{"keepTagRevisions":3}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	c.eventually("the correction heals", func() (bool, string) { text := condition(); return strings.HasPrefix(text, "False/"), text })
}

// Behaviours 24 and 25: what nodes trust follows the signer and the administrator, although somebody froze the
// ConfigMap, or the one of the administrator is not there yet.
func TestTrustIsKeptWhateverIsInItsWay(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.waitFor(registryv1.ConditionRemoved, registryv1.ConditionTrue, registryv1.ReasonRemoved)
	c.edit(func(config *registryv1.Config) {
		onEmptyDir(config)
		config.Spec.AdditionalTrustedCA.Name = "mirrors"
	})
	const own = "image-registry.image-registry-system.svc..5000"
	configMaps := c.kube.CoreV1().ConfigMaps(ns)
	published := func() *corev1.ConfigMap {
		found, err := configMaps.Get(t.Context(), registryv1.ConfigMapCertificates, metav1.GetOptions{})
		if err != nil {
			return &corev1.ConfigMap{}
		}
		return found
	}
	c.waitFor(registryv1.ConditionDegraded, registryv1.ConditionTrue, registryv1.ReasonTrustedCANotFound)
	c.eventually("the own hosts are trusted without the ConfigMap of users", func() (bool, string) { return published().Data[own] != "", summary(c.config()) })
	for _, ref := range dataPlane() {
		c.exists(ref)
	}
	frozen := published()
	if _, err := configMaps.Patch(t.Context(), frozen.Name, types.MergePatchType, []byte(`{"immutable":true}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	mirror, _, err := selfsigned.IssueFor(3, "mirror.test")
	if err != nil {
		t.Fatal(err)
	}
	users := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "mirrors"}, Data: map[string]string{"mirror.test": string(mirror)}}
	if _, err := configMaps.Create(t.Context(), users, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.eventually("the ConfigMap is made anew with both", func() (bool, string) {
		now := published()
		return now.UID != frozen.UID && now.Data["mirror.test"] == string(mirror) && now.Data[own] == frozen.Data[own], summary(c.config())
	})
	if err := configMaps.Delete(t.Context(), users.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	c.waitFor(registryv1.ConditionDegraded, registryv1.ConditionTrue, registryv1.ReasonTrustedCANotFound)
	if now := published(); now.Data["mirror.test"] != string(mirror) || now.Data[own] != frozen.Data[own] {
		t.Error("what the ConfigMap held before is not trusted any more")
	}
}

//go:build component

package imageoperation

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/imageapiserver/webhook/lookup"
	"image.alauda.io/registry/test/imageapi"
	"image.alauda.io/registry/test/secondregistry"
)

// ownMetrics are those of the specification, with their labels.
var ownMetrics = map[string]string{
	"image_apiserver_stored_objects":                   "resource",
	"image_apiserver_imagestream_encoded_bytes":        "",
	"image_apiserver_layer_index_images":               "",
	"image_apiserver_storage_request_duration_seconds": "backend operation",
	"image_apiserver_imports_total":                    "reason registry result scheduled",
	"image_apiserver_import_duration_seconds":          "scheduled",
	"image_apiserver_import_queue_depth":               "",
	"image_apiserver_registry_cooldown":                "registry",
	"image_apiserver_quota_rejections_total":           "resource",
	"image_apiserver_quota_conflicts_total":            "",
	"image_apiserver_trigger_updates_total":            "kind result",
	"image_apiserver_lookup_requests_total":            "result",
	"image_apiserver_config_reload_errors_total":       "",
}

// labelValues are all that a label may have; users choose registries, and their number is bounded by 50 names
// and "other", which the tests of the importer show.
var labelValues = map[string][]string{
	"backend":   {"crd", "etcd"},
	"scheduled": {"true", "false"},
	"kind":      {"Deployment", "DaemonSet", "StatefulSet", "CronJob"},
}

// sample is one line of the metrics.
type sample struct {
	name   string
	labels map[string]string
	value  float64
}

var (
	sampleLine = regexp.MustCompile(`^(image_apiserver_\w+)(?:\{(.*)\})? (\S+)$`)
	labelPair  = regexp.MustCompile(`(\w+)="((?:[^"\\]|\\.)*)"`)
)

// samples reads the own metrics of a server, with the parts of histograms under the histogram's name.
func samples(t *testing.T, config *rest.Config) []sample {
	t.Helper()
	code, text, err := newClient(t, config).do(http.MethodGet, "/metrics", nil)
	if err != nil || code != http.StatusOK {
		t.Fatalf("metrics: status %d, error %v: %s", code, err, text)
	}
	var found []sample
	for line := range strings.Lines(string(text)) {
		match := sampleLine.FindStringSubmatch(strings.TrimSpace(line))
		if match == nil {
			continue
		}
		s := sample{name: match[1], labels: map[string]string{}}
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			if name, cut := strings.CutSuffix(s.name, suffix); cut {
				if _, known := ownMetrics[name]; known {
					s.name = name
				}
			}
		}
		for _, pair := range labelPair.FindAllStringSubmatch(match[2], -1) {
			if pair[1] != "le" {
				s.labels[pair[1]] = pair[2]
			}
		}
		if s.value, err = strconv.ParseFloat(match[3], 64); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		found = append(found, s)
	}
	return found
}

// direct reaches a server without kube-apiserver, as an administrator.
func direct(t *testing.T, s *imageapi.Server) *rest.Config {
	t.Helper()
	config := s.CP.RestConfigFor("admin", "system:masters")
	config.Host = fmt.Sprintf("https://127.0.0.1:%d", s.Port)
	_, _, config.CAData = s.CP.ServingCert(t, "unused")
	return config
}

// sum adds up all samples of a metric.
func sum(t *testing.T, s *imageapi.Server, name string) (total float64) {
	t.Helper()
	for _, one := range samples(t, direct(t, s)) {
		if one.name == name {
			total += one.value
		}
	}
	return total
}

// Behaviour 67, the metrics: when every part of the server has worked once, exactly the metrics of the
// specification are there, with its labels and no others. Who has no right to read them gets none.
func TestMetricsAreThoseOfTheSpecification(t *testing.T) {
	tired := secondregistry.Start(t, secondregistry.Options{})
	tired.Throttle("", "**", "600")
	webhookPort := freePort(t)
	config := newConfig(t, "imageImport: {allowedHosts: ['"+tired.Host+"'], insecureRegistries: ['"+tired.Host+"']}\n")
	s := imageapi.Start(t, shared.Get(t), "--config="+config, fmt.Sprintf("--webhook-port=%d", webhookPort))
	namespace := newNamespace(t, s)
	workEverything(t, s, namespace, tired.Host, webhookPort)

	imageapi.Eventually(t, "all metrics are there", func(context.Context) error {
		missing := maps.Clone(ownMetrics)
		for _, one := range samples(t, direct(t, s)) {
			delete(missing, one.name)
		}
		if len(missing) > 0 {
			return fmt.Errorf("missing: %v", slices.Sorted(maps.Keys(missing)))
		}
		return nil
	})
	for _, one := range samples(t, direct(t, s)) {
		labels, known := ownMetrics[one.name]
		if !known {
			t.Errorf("%s is in no specification", one.name)
			continue
		}
		if got := strings.Join(slices.Sorted(maps.Keys(one.labels)), " "); got != labels {
			t.Errorf("%s has the labels %q, want %q", one.name, got, labels)
		}
		for label, value := range one.labels {
			if allowed, bounded := labelValues[label]; bounded && !slices.Contains(allowed, value) {
				t.Errorf("%s: unknown value %s=%q", one.name, label, value)
			}
			if strings.Contains(value, namespace) || strings.Contains(value, "sha256:") {
				t.Errorf("%s: %s=%q grows with what users create", one.name, label, value)
			}
		}
	}
	stranger := s.CP.RestConfigFor("stranger")
	stranger.Host, stranger.CAData = direct(t, s).Host, direct(t, s).CAData
	if code, _, err := newClient(t, stranger).do(http.MethodGet, "/metrics", nil); err != nil || code != http.StatusForbidden {
		t.Errorf("metrics for anybody: status %d, error %v, want 403", code, err)
	}
}

// workEverything makes each part of the server count something.
func workEverything(t *testing.T, s *imageapi.Server, namespace, registry string, webhookPort int) {
	t.Helper()
	images := s.Images.ImageV1()
	if _, err := images.ImageStreamMappings(namespace).Create(t.Context(), mapping(namespace, "app", "v1", namespace), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	imported, err := images.ImageStreamImports(namespace).Create(t.Context(), &imagev1.ImageStreamImport{
		ObjectMeta: metav1.ObjectMeta{Name: "imported"},
		Spec: imagev1.ImageStreamImportSpec{Images: []imagev1.ImageImportSpec{{
			From: corev1.ObjectReference{Kind: "DockerImage", Name: registry + "/some/image:v1"}, ImportPolicy: imagev1.TagImportPolicy{Insecure: true},
		}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if reason := imported.Status.Images[0].Status.Reason; reason != metav1.StatusReasonTooManyRequests {
		t.Errorf("import from a registry that asks for patience: %+v", imported.Status.Images[0].Status)
	}

	quota := &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Name: "streams"},
		Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{"alauda.io/imagestreams": resource.MustParse("1")}},
	}
	if _, err := s.Kube.CoreV1().ResourceQuotas(namespace).Create(t.Context(), quota, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	asking := newClient(t, s.CP.Config)
	streams, n := group+"/namespaces/"+namespace+"/imagestreams", 0
	imageapi.Eventually(t, "the quota refuses a stream", func(context.Context) error {
		n++
		code, text, err := asking.do(http.MethodPost, streams, map[string]any{"metadata": map[string]any{"name": fmt.Sprintf("more-%d", n)}})
		if err == nil && code != http.StatusForbidden {
			err = fmt.Errorf("status %d: %s", code, text)
		}
		return err
	})

	labels := map[string]string{"app": "web"}
	deployment := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Annotations: map[string]string{
			imagev1.TriggersAnnotation: `[{"from":{"kind":"ImageStreamTag","name":"app:v1"},"fieldPath":"spec.template.spec.containers[0].image"}]`,
		}},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: "registry.test/other:1"}}},
			},
		},
	}
	if _, err := s.Kube.AppsV1().Deployments(namespace).Create(t.Context(), deployment, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	askWebhook(t, s, webhookPort)
}

// askWebhook sends what is not an admission review, which counts as refused.
func askWebhook(t *testing.T, s *imageapi.Server, port int) {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(direct(t, s).CAData)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	defer transport.CloseIdleConnections()
	imageapi.Eventually(t, "the webhook answers", func(ctx context.Context) error {
		body, err := json.Marshal(map[string]string{"kind": "NoReview"})
		if err != nil {
			return err
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, fmt.Sprintf("https://127.0.0.1:%d%s", port, lookup.Path), bytes.NewReader(body))
		if err != nil {
			return err
		}
		request.Header.Set("Content-Type", "application/json")
		answer, err := transport.RoundTrip(request)
		if err != nil {
			return err
		}
		if answer.StatusCode == http.StatusNotFound {
			t.Fatal("the webhook does not know its path")
		}
		return answer.Body.Close()
	})
}

func freePort(t *testing.T) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

//go:build component

package imageoperation

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/imageapiserver/app"
	"image.alauda.io/registry/test/controlplane"
	"image.alauda.io/registry/test/imageapi"
)

// Behaviour 65: on a kube-apiserver that does not serve MutatingAdmissionPolicies, as those before 1.36 do
// not, the server starts and writes are accepted.
func TestWritesWorkWithoutMutatingAdmissionPolicies(t *testing.T) {
	for name, flags := range map[string][]string{
		"an older version": {"--emulated-version=1.34"},
		"the kind switched off": {
			"--runtime-config=admissionregistration.k8s.io/v1/mutatingadmissionpolicies=false,admissionregistration.k8s.io/v1/mutatingadmissionpolicybindings=false",
			"--disable-admission-plugins=MutatingAdmissionPolicy",
		},
	} {
		t.Run(name, func(t *testing.T) {
			cp := controlplane.Start(t, controlplane.WithAPIServerFlags(flags...))
			s := imageapi.Start(t, cp)
			list, err := s.Kube.Discovery().ServerResourcesForGroupVersion("admissionregistration.k8s.io/v1")
			if err != nil {
				t.Fatal(err)
			}
			if slices.ContainsFunc(list.APIResources, func(r metav1.APIResource) bool { return r.Name == "mutatingadmissionpolicies" }) {
				t.Fatal("this cluster serves mutatingadmissionpolicies")
			}
			namespace := newNamespace(t, s)
			if _, err := s.Images.ImageV1().ImageStreamMappings(namespace).Create(t.Context(), mapping(namespace, "app", "v1", "one"), metav1.CreateOptions{}); err != nil {
				t.Error(err)
			}
			tag := &imagev1.ImageStreamTag{ObjectMeta: metav1.ObjectMeta{Name: "app:stable"}, Tag: &imagev1.TagReference{Name: "stable"}}
			if _, err := s.Images.ImageV1().ImageStreamTags(namespace).Create(t.Context(), tag, metav1.CreateOptions{}); err != nil {
				t.Error(err)
			}
			if err := s.Images.ImageV1().ImageStreams(namespace).Delete(t.Context(), "app", metav1.DeleteOptions{}); err != nil {
				t.Error(err)
			}
		})
	}
}

// Behaviour 65: without aggregation layer the server ends and says so, in words that the operator looks for.
func TestWithoutAggregationLayerTheServerEnds(t *testing.T) {
	cp := controlplane.Start(t, controlplane.WithAPIServerFlags(
		"--requestheader-client-ca-file=", "--proxy-client-cert-file=", "--proxy-client-key-file="))
	s := imageapi.Prepare(t, cp)
	kubeconfig, err := s.CP.WriteKubeconfig("image-api-server", imageapi.ServiceAccountConfig(s.CP, "image-api-server"))
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile, _ := cp.ServingCert(t, servingNames...)
	var stdout, stderr bytes.Buffer
	code := app.Run(t.Context(), []string{
		"--config=" + newConfig(t, ""), "--kubeconfig=" + kubeconfig, "-v=0", "--webhook-port=0",
		"--tls-cert-file=" + certFile, "--tls-private-key-file=" + keyFile,
	}, &stdout, &stderr)
	if code != 1 || !strings.Contains(stderr.String(), "AggregationLayerDisabled: ") {
		t.Errorf("exit code %d, message %q; want 1 and a message that starts with AggregationLayerDisabled", code, stderr.String())
	}
}

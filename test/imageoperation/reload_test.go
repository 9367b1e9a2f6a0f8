//go:build component

package imageoperation

import (
	"context"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"image.alauda.io/registry/test/imageapi"
)

// Behaviour 66: a changed configuration is taken over without a restart, and the next read of any resource
// shows new host names. A broken one changes nothing: a metric counts it and one Event at the ConfigMap says
// what is wrong.
func TestConfigurationIsReadAgain(t *testing.T) {
	file := newConfig(t, "")
	s := imageapi.Start(t, shared.Get(t), "--config="+file)
	holds := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "image-api-server-config"}}
	maps := s.Kube.CoreV1().ConfigMaps(imageapi.SystemNamespace)
	holds, err := maps.Create(t.Context(), holds, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := maps.Delete(context.Background(), holds.Name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	namespace := newNamespace(t, s)
	streams := s.Images.ImageV1().ImageStreams(namespace)
	shows := func(internal, public string) func(context.Context) error {
		return func(ctx context.Context) error {
			stream, err := streams.Get(ctx, "app", metav1.GetOptions{})
			if err != nil {
				return err
			}
			list, err := streams.List(ctx, metav1.ListOptions{})
			if err != nil {
				return err
			}
			for _, one := range append(list.Items, *stream) {
				if got, want := one.Status.DockerImageRepository, internal+"/"+namespace+"/app"; got != want {
					return fmt.Errorf("internal repository %q, want %q", got, want)
				}
				if got, want := one.Status.PublicDockerImageRepository, public; got != want {
					return fmt.Errorf("public repository %q, want %q", got, want)
				}
			}
			return nil
		}
	}
	if err := shows(imageapi.InternalHost, "")(t.Context()); err != nil {
		t.Fatal(err)
	}
	before, err := streams.Get(t.Context(), "app", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}

	configure(t, file, "internalRegistryHostname: image-registry.image-registry-system.svc:5001\nexternalRegistryHostnames: [registry.example.test]\n")
	changed := shows("image-registry.image-registry-system.svc:5001", "registry.example.test/"+namespace+"/app")
	imageapi.Eventually(t, "both host names are shown", changed)

	errorsBefore := sum(t, s, "image_apiserver_config_reload_errors_total")
	configure(t, file, "internalRegistryHostname: elsewhere:5000\nnoSuchField: true\n")
	imageapi.Eventually(t, "the metric counts the broken file", func(context.Context) error {
		if got := sum(t, s, "image_apiserver_config_reload_errors_total"); got != errorsBefore+1 {
			return fmt.Errorf("%v errors, want %v", got, errorsBefore+1)
		}
		return nil
	})
	imageapi.Eventually(t, "an Event tells about the broken file", func(ctx context.Context) error {
		events, err := s.Kube.CoreV1().Events(imageapi.SystemNamespace).List(ctx, metav1.ListOptions{
			FieldSelector: "reason=ConfigRefused,type=Warning,involvedObject.uid=" + string(holds.UID),
		})
		if err != nil {
			return err
		}
		if len(events.Items) != 1 || events.Items[0].Count > 1 || !strings.Contains(events.Items[0].Message, "noSuchField") {
			return fmt.Errorf("%d events: %+v", len(events.Items), events.Items)
		}
		return nil
	})
	if err := changed(t.Context()); err != nil {
		t.Errorf("after the broken file: %v", err)
	}

	configure(t, file, "internalRegistryHostname: "+imageapi.InternalHost+"\n")
	imageapi.Eventually(t, "the repaired file is taken over", shows(imageapi.InternalHost, ""))
	after, err := streams.Get(t.Context(), "app", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if after.ResourceVersion != before.ResourceVersion {
		t.Error("a change of the configuration wrote the stream")
	}
}

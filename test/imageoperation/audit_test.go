//go:build component

package imageoperation

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	imagev1 "image.alauda.io/api/image/v1"
	imageclient "image.alauda.io/client-go/clientset/versioned"
	"image.alauda.io/registry/test/imageapi"
)

// Behaviour 67, the audit log: with nothing but a path every write leaves an entry with its user, its stream
// and its tag, no read does, and no entry has a body.
func TestAuditLogNamesUserAndTag(t *testing.T) {
	log := filepath.Join(t.TempDir(), "audit.log")
	s := imageapi.Start(t, shared.Get(t), "--audit-log-path="+log)
	namespace := newNamespace(t, s)
	images := imageclient.NewForConfigOrDie(s.CP.RestConfigFor("carla", "system:masters")).ImageV1()
	ctx := t.Context()
	if _, err := images.ImageStreamMappings(namespace).Create(ctx, mapping(namespace, "app", "v1", "audited"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := images.ImageStreamTags(namespace).Create(ctx, &imagev1.ImageStreamTag{
		ObjectMeta: metav1.ObjectMeta{Name: "app:stable"},
		Tag:        &imagev1.TagReference{Name: "stable", From: tagNamed("app:v1")},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	stream, err := images.ImageStreams(namespace).Get(ctx, "app", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	stream.Spec.Tags = append(stream.Spec.Tags, imagev1.TagReference{Name: "edited", From: tagNamed("app:v1")})
	if _, err := images.ImageStreams(namespace).Update(ctx, stream, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := images.ImageStreamTags(namespace).Delete(ctx, "app:stable", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	// A refused write is in the log, too.
	if code, _, err := newClient(t, s.CP.Config).do(http.MethodPost, group+"/namespaces/"+namespace+"/imagestreammappings", mapping(namespace, "absent", "v1", "x")); err != nil || code != http.StatusNotFound {
		t.Fatalf("mapping into no stream: %d, %v", code, err)
	}

	moved := "=" + digestOf("audited")
	want := []string{
		"carla create imagestreammappings app 201 v1" + moved,
		"carla create imagestreamtags app:stable 201 stable" + moved,
		"carla update imagestreams app 200 edited" + moved,
		"carla delete imagestreamtags app:stable 200 stable",
		"admin create imagestreammappings absent 404 ",
	}
	imageapi.Eventually(t, "all writes are audited", func(context.Context) error {
		got := map[string]bool{}
		for _, event := range auditEvents(t, log) {
			if event.ObjectRef == nil || event.ObjectRef.Namespace != namespace {
				continue
			}
			got[fmt.Sprintf("%s %s %s %s %d %s", event.User.Username, event.Verb, event.ObjectRef.Resource, event.ObjectRef.Name,
				event.ResponseStatus.Code, event.Annotations["image.alauda.io/tags"])] = true
		}
		for _, line := range want {
			if !got[line] {
				return fmt.Errorf("no %q among %v", line, got)
			}
		}
		return nil
	})
	for _, event := range auditEvents(t, log) {
		if event.RequestObject != nil || event.ResponseObject != nil || event.Level != auditv1.LevelMetadata {
			t.Errorf("entry of level %s with a body: %+v", event.Level, event)
		}
		if event.Verb == "get" || event.Verb == "list" || event.Verb == "watch" {
			t.Errorf("a read is audited: %s %s", event.Verb, event.RequestURI)
		}
	}
}

func auditEvents(t *testing.T, log string) []auditv1.Event {
	t.Helper()
	data, err := os.ReadFile(log)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	var events []auditv1.Event
	for line := range strings.Lines(string(data)) {
		if !strings.HasSuffix(line, "\n") {
			continue // still being written
		}
		var event auditv1.Event
		if err := json.Unmarshal([]byte(line), &event); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		events = append(events, event)
	}
	return events
}

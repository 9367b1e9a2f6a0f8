package importer

import (
	"context"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
	"k8s.io/klog/v2/ktesting"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
)

// Behaviour 67, writes of the server itself: they pass no audit log, so the log of the server names stream,
// tag and digest of what it changed, at verbosity 2 and not below.
func TestOwnWritesAreLogged(t *testing.T) {
	stream := func(version string, heads map[string]string) *imageapi.ImageStream {
		s := &imageapi.ImageStream{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "app", ResourceVersion: version}}
		s.Status.Tags = map[string]imageapi.TagEventList{"failed": {}}
		for tag, digest := range heads {
			s.Status.Tags[tag] = imageapi.TagEventList{Items: []imageapi.TagEvent{{Image: digest}}}
		}
		return s
	}
	before := stream("1", map[string]string{"same": "sha256:a", "moved": "sha256:b"})
	after := stream("2", map[string]string{"same": "sha256:a", "moved": "sha256:c", "new": "sha256:d"})
	written := func(verbosity int, before, after *imageapi.ImageStream) string {
		config := ktesting.NewConfig(ktesting.Verbosity(verbosity), ktesting.BufferLogs(true))
		logger := ktesting.NewLogger(ktesting.NopTL{}, config)
		logWrites(klog.NewContext(context.Background(), logger), before, after, true)
		return logger.GetSink().(ktesting.Underlier).GetBuffer().String()
	}
	log := written(2, before, after)
	for _, want := range []string{`stream="app" tag="moved" digest="sha256:c"`, `stream="app" tag="new" digest="sha256:d"`, `namespace="team"`, "scheduled=true"} {
		if !strings.Contains(log, want) {
			t.Errorf("no %s in %s", want, log)
		}
	}
	for _, not := range []string{"same", "failed"} {
		if strings.Contains(log, not) {
			t.Errorf("%s did not change, but is in %s", not, log)
		}
	}
	if log := written(1, before, after); log != "" {
		t.Errorf("at verbosity 1: %s", log)
	}
	if log := written(2, before, before); log != "" {
		t.Errorf("without a write: %s", log)
	}
}

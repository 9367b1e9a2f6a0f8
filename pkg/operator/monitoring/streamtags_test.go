package monitoring

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	testingclock "k8s.io/utils/clock/testing"

	imagev1 "image.alauda.io/api/image/v1"
	typedimage "image.alauda.io/client-go/clientset/versioned/typed/image/v1"
)

// pages answers lists in pages of one stream each.
type pages struct {
	typedimage.ImageStreamInterface
	streams  []imagev1.ImageStream
	requests int
	err      error
}

func (p *pages) ImageStreams(string) typedimage.ImageStreamInterface { return p }

func (p *pages) List(_ context.Context, o metav1.ListOptions) (*imagev1.ImageStreamList, error) {
	p.requests++
	if p.err != nil {
		return nil, p.err
	}
	list := &imagev1.ImageStreamList{}
	at := len(o.Continue)
	if at < len(p.streams) {
		list.Items = p.streams[at : at+1]
	}
	if at+1 < len(p.streams) {
		list.Continue = strings.Repeat("x", at+1)
	}
	return list, nil
}

func stream(namespace string, spec, status []string) imagev1.ImageStream {
	s := imagev1.ImageStream{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "app"}}
	for _, name := range spec {
		s.Spec.Tags = append(s.Spec.Tags, imagev1.TagReference{Name: name})
	}
	for _, name := range status {
		s.Status.Tags = append(s.Status.Tags, imagev1.NamedTagEventList{Tag: name})
	}
	return s
}

const text = `
# HELP image_registry_image_stream_tags_total Image stream tags, counted once an hour, by source (imported: the tag has an entry in spec; pushed) and location (system namespaces; other).
# TYPE image_registry_image_stream_tags_total gauge
image_registry_image_stream_tags_total{location="other",source="imported"} 2
image_registry_image_stream_tags_total{location="other",source="pushed"} 1
image_registry_image_stream_tags_total{location="system",source="imported"} 0
image_registry_image_stream_tags_total{location="system",source="pushed"} 2
`

func TestStreamTagsAreCountedOnceAnHourWhileTheAPIIsThere(t *testing.T) {
	streams := &pages{streams: []imagev1.ImageStream{
		stream("team-a", []string{"latest", "v1"}, []string{"latest", "pushed"}),
		stream("kube-system", nil, []string{"a"}),
		stream("operands", nil, []string{"b"}),
	}}
	available := false
	now := testingclock.NewFakeClock(time.Unix(1_000_000, 0))
	registry := prometheus.NewRegistry()
	counter, err := NewStreamTags(StreamTagsOptions{
		Streams: streams, Available: func() bool { return available }, Namespace: "operands", Registerer: registry, Clock: now,
	})
	if err != nil {
		t.Fatal(err)
	}
	due := counter.look(t.Context(), time.Time{})
	if streams.requests != 0 || !due.IsZero() {
		t.Fatalf("without the API: %d requests, due %s", streams.requests, due)
	}
	available = true
	due = counter.look(t.Context(), due)
	if want := now.Now().Add(time.Hour); !due.Equal(want) || streams.requests != 3 {
		t.Fatalf("due %s after %d requests, want %s after 3", due, streams.requests, want)
	}
	if err := testutil.GatherAndCompare(registry, strings.NewReader(text)); err != nil {
		t.Error(err)
	}
	now.Step(59 * time.Minute)
	if due = counter.look(t.Context(), due); streams.requests != 3 {
		t.Error("counted again within an hour")
	}
	now.Step(time.Minute)
	if due = counter.look(t.Context(), due); streams.requests != 6 {
		t.Errorf("%d requests after an hour, want 6", streams.requests)
	}
	streams.err = errors.New("the API is busy")
	now.Step(time.Hour)
	if next := counter.look(t.Context(), due); !next.Equal(now.Now().Add(retryInterval)) {
		t.Errorf("after an error due at %s", next)
	}
	available = false
	counter.look(t.Context(), due)
	if n, err := testutil.GatherAndCount(registry); err != nil || n != 0 {
		t.Errorf("%d series without the API, %v", n, err)
	}
}

package monitoring

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	imagev1 "image.alauda.io/api/image/v1"
	typedimage "image.alauda.io/client-go/clientset/versioned/typed/image/v1"
	"image.alauda.io/registry/pkg/operator/pullsecret"
)

const (
	// countInterval is the time between two counts, lookInterval the one between two looks whether the Image
	// API is there; the latter costs no request.
	countInterval = time.Hour
	lookInterval  = 15 * time.Second
	// retryInterval is the time after a count that failed.
	retryInterval = 5 * time.Minute
	countTimeout  = 5 * time.Minute
	pageSize      = 250
)

// Values of the labels.
const (
	sourceImported, sourcePushed  = "imported", "pushed"
	locationSystem, locationOther = "system", "other"
)

// StreamTagsOptions are what the counter works with; all but Clock are required.
type StreamTagsOptions struct {
	Streams typedimage.ImageStreamsGetter
	// Available says whether the Image API is served.
	Available func() bool
	// Namespace is the one of the operands, which belongs to the system.
	Namespace  string
	Registerer prometheus.Registerer
	// Clock defaults to the real one.
	Clock clock.WithTicker
}

// StreamTags counts image stream tags by where they come from and where they lie.
type StreamTags struct {
	StreamTagsOptions
	gauge *prometheus.GaugeVec
}

// NewStreamTags registers the gauge.
func NewStreamTags(o StreamTagsOptions) (*StreamTags, error) {
	if o.Streams == nil || o.Available == nil || o.Namespace == "" || o.Registerer == nil {
		return nil, errors.New("count of image stream tags: Streams, Available, Namespace and Registerer are required")
	}
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	gauge := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "image_registry_image_stream_tags_total",
		Help: "Image stream tags, counted once an hour, by source (imported: the tag has an entry in spec; pushed) and location (system namespaces; other).",
	}, []string{"source", "location"})
	if err := o.Registerer.Register(gauge); err != nil {
		return nil, fmt.Errorf("count of image stream tags: %w", err)
	}
	return &StreamTags{StreamTagsOptions: o, gauge: gauge}, nil
}

// Run counts until ctx ends.
func (s *StreamTags) Run(ctx context.Context) {
	ticker := s.Clock.NewTicker(lookInterval)
	defer ticker.Stop()
	var next time.Time
	for {
		next = s.look(ctx, next)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C():
		}
	}
}

// look counts if it is time for it, and returns when the next count is due. Without the API there is no figure:
// an old one would be taken for the present.
func (s *StreamTags) look(ctx context.Context, due time.Time) time.Time {
	now := s.Clock.Now()
	if !s.Available() {
		s.gauge.Reset()
		return time.Time{}
	}
	if now.Before(due) {
		return due
	}
	counts, err := s.count(ctx)
	if err != nil {
		if ctx.Err() == nil {
			klog.FromContext(ctx).Info("Image stream tags could not be counted", "error", err.Error())
		}
		return now.Add(retryInterval)
	}
	s.publish(counts)
	return now.Add(countInterval)
}

type tagKey struct{ source, location string }

func (s *StreamTags) publish(counts map[tagKey]int) {
	for _, source := range []string{sourceImported, sourcePushed} {
		for _, location := range []string{locationSystem, locationOther} {
			s.gauge.WithLabelValues(source, location).Set(float64(counts[tagKey{source, location}]))
		}
	}
}

// count reads the streams of all namespaces in pages, none of which is kept.
func (s *StreamTags) count(ctx context.Context) (map[tagKey]int, error) {
	ctx, cancel := context.WithTimeout(ctx, countTimeout)
	defer cancel()
	counts := map[tagKey]int{}
	options := metav1.ListOptions{Limit: pageSize}
	for {
		page, err := s.Streams.ImageStreams(metav1.NamespaceAll).List(ctx, options)
		if err != nil {
			return nil, fmt.Errorf("list image streams: %w", err)
		}
		for i := range page.Items {
			s.add(counts, &page.Items[i])
		}
		if options.Continue = page.Continue; options.Continue == "" {
			return counts, nil
		}
	}
}

func (s *StreamTags) add(counts map[tagKey]int, stream *imagev1.ImageStream) {
	location := locationOther
	scope := pullsecret.Scope{OperandNamespace: s.Namespace, IgnoreSystem: true}
	if !scope.HasNamespace(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: stream.Namespace}}) {
		location = locationSystem
	}
	imported := make(map[string]bool, len(stream.Spec.Tags))
	for _, tag := range stream.Spec.Tags {
		imported[tag.Name] = true
	}
	counts[tagKey{sourceImported, location}] += len(imported)
	for _, tag := range stream.Status.Tags {
		if !imported[tag.Tag] {
			counts[tagKey{sourcePushed, location}]++
		}
	}
}

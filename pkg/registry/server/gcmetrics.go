package server

import (
	"image.alauda.io/registry/pkg/registry/store"

	"github.com/prometheus/client_golang/prometheus"
)

// collectionMetrics tell what becomes of blobs that nobody uses.
type collectionMetrics struct {
	deleted, bytes, refused, rescued prometheus.Counter
}

func newCollectionMetrics(registry *prometheus.Registry) collectionMetrics {
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Subsystem: "gc", Name: name, Help: help})
		registry.MustRegister(c)
		return c
	}
	return collectionMetrics{
		deleted: counter("deleted_blobs_total", "Blobs that were deleted from the storage."),
		bytes:   counter("reclaimed_bytes_total", "Bytes of blobs that were deleted from the storage."),
		refused: counter("delete_refused_total", "Deletions of blobs that were refused, because they are in use or too young."),
		rescued: counter("rescued_blobs_total", "Blobs that a push relied on when they were about to be deleted."),
	}
}

// BlobDeletion hears of every request to delete a blob.
func (m *Metrics) BlobDeletion(deletion store.Deletion) {
	switch deletion.Outcome {
	case store.Deleted:
		m.collections.deleted.Inc()
		m.collections.bytes.Add(float64(deletion.FreedBytes))
	case store.Refused:
		m.collections.refused.Inc()
		if deletion.Reason == store.ReasonTouched {
			m.collections.rescued.Inc()
		}
	}
}

package server

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// engineMetrics passes on what the storage engine registers globally, and nothing else
// of the global registry, which holds process metrics a second time.
type engineMetrics struct{}

// Gather implements prometheus.Gatherer.
func (engineMetrics) Gather() ([]*dto.MetricFamily, error) {
	families, err := prometheus.DefaultGatherer.Gather()
	kept := families[:0]
	for _, family := range families {
		if strings.HasPrefix(family.GetName(), "registry_storage_") {
			kept = append(kept, family)
		}
	}
	return kept, err
}

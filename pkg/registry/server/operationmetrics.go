package server

import (
	"net/http"
	"time"

	"image.alauda.io/registry/pkg/registry/handlers"
	"image.alauda.io/registry/pkg/registry/limiter"
	"image.alauda.io/registry/pkg/registry/route"

	"github.com/prometheus/client_golang/prometheus"
)

// Dashboards know operations by the names that the interfaces of the storage engine gave
// them. Those that are a whole request are told from its route, the others come from the
// store by OperationDone.
const (
	operationStat   = "BlobStore.Stat"
	operationServe  = "BlobStore.ServeBlob"
	operationDelete = "BlobStore.Delete"

	operationManifestExists = "ManifestService.Exists"
	operationManifestGet    = "ManifestService.Get"
	operationManifestPut    = "ManifestService.Put"
	operationManifestDelete = "ManifestService.Delete"

	operationTagGet = "TagService.Get"
	operationTag    = "TagService.Tag"
	operationUntag  = "TagService.Untag"
	operationTags   = "TagService.All"
)

// operationsOf names what a request does. One that reads or writes a manifest by its tag
// does both, look for the tag and read the manifest.
func operationsOf(method string, matched route.Route) []string {
	switch matched.Kind {
	case route.Blob:
		return one(method, map[string]string{http.MethodHead: operationStat, http.MethodGet: operationServe, http.MethodDelete: operationDelete})
	case route.Tags:
		return one(method, map[string]string{http.MethodGet: operationTags})
	case route.Manifest:
		if matched.Tag == "" {
			return one(method, manifestOperations)
		}
		if method == http.MethodDelete {
			return []string{operationUntag}
		}
		return append(one(method, manifestOperations), one(method, tagOperations)...)
	}
	return nil
}

var manifestOperations = map[string]string{
	http.MethodHead: operationManifestExists, http.MethodGet: operationManifestGet,
	http.MethodPut: operationManifestPut, http.MethodDelete: operationManifestDelete,
}

var tagOperations = map[string]string{http.MethodHead: operationTagGet, http.MethodGet: operationTagGet, http.MethodPut: operationTag}

func one(method string, names map[string]string) []string {
	if name, ok := names[method]; ok {
		return []string{name}
	}
	return nil
}

// OperationDone implements the observer of the store.
func (m *Metrics) OperationDone(operation string, took time.Duration) {
	m.operations.WithLabelValues(operation).Observe(took.Seconds())
}

func (m *Metrics) observeOperations(record *handlers.Record, took time.Duration) {
	for _, operation := range operationsOf(record.Method, record.Route) {
		m.OperationDone(operation, took)
	}
}

// rejections exports how often a limiter turned requests away.
func rejections(class string, l *limiter.Limiter) []prometheus.Collector {
	var list []prometheus.Collector
	for _, reason := range limiter.Reasons() {
		list = append(list, prometheus.NewCounterFunc(prometheus.CounterOpts{
			Namespace: namespace, Name: "requests_rejected_total", Help: "Requests that were turned away.",
			ConstLabels: prometheus.Labels{"class": class, "reason": reason},
		}, func() float64 { return float64(l.Rejected(reason)) }))
	}
	return list
}

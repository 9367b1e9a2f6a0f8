package importer

import (
	"fmt"
	"testing"

	"k8s.io/component-base/metrics/legacyregistry"
)

func TestTheMostUsedHostsKeepTheirLabel(t *testing.T) {
	h := newHostLabels(2, 10)
	for range 3 {
		h.use("often")
	}
	h.use("once")
	if label, _ := h.use("new"); label != otherHosts {
		t.Errorf("first use of a new host counts as %q", label)
	}
	if label, displaced := h.use("new"); label != "new" || displaced != "once" {
		t.Errorf("second use counts as %q and displaces %q", label, displaced)
	}
	if label, _ := h.use("often"); label != "often" {
		t.Errorf("the host used most counts as %q", label)
	}
	for at := range 10000 {
		h.use(fmt.Sprint("host", at))
	}
	if len(h.labelled) > 2 || len(h.waiting) > 10 {
		t.Errorf("%d labels and %d candidates are kept", len(h.labelled), len(h.waiting))
	}
}

func TestImportsAreCountedByOutcome(t *testing.T) {
	s := newScripted()
	image := s.image("metrics.example/x", "v1", "amd64", "a")
	before := func(result, reason string) float64 { return counted(t, "metrics.example", result, reason) }
	imports0, failed0, unchanged0 := before("imported", ""), before("failed", "NotFound"), before("unchanged", "")
	engine(t, s).Import(t.Context(), Request{Scheduled: true, Items: []Item{
		{From: "metrics.example/x:v1"}, {From: "metrics.example/x:gone"},
		{From: "metrics.example/x:v1", LastDigest: image.Digest.String()}, {From: "not a pull spec"},
	}})
	if a, b, c := before("imported", "")-imports0, before("failed", "NotFound")-failed0, before("unchanged", "")-unchanged0; a != 1 || b != 1 || c != 1 {
		t.Errorf("imported %v, failed %v, unchanged %v; want 1 each", a, b, c)
	}
}

// counted reads the counter of scheduled imports from what the server would show.
func counted(t *testing.T, host, result, reason string) float64 {
	t.Helper()
	families, err := legacyregistry.DefaultGatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	wanted := map[string]string{"scheduled": "true", "registry": host, "result": result, "reason": reason}
	for _, family := range families {
		if family.GetName() != "image_apiserver_imports_total" {
			continue
		}
		for _, metric := range family.GetMetric() {
			matches := 0
			for _, label := range metric.GetLabel() {
				if wanted[label.GetName()] == label.GetValue() {
					matches++
				}
			}
			if matches == len(wanted) {
				return metric.GetCounter().GetValue()
			}
		}
	}
	return 0
}

package server

import (
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"image.alauda.io/registry/pkg/registry/limiter"
	"image.alauda.io/registry/pkg/registry/route"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var described = regexp.MustCompile(`fqName: "([^"]+)".*constLabels: \{([^}]*)\}, variableLabels: \{([^}]*)\}`)

// names lists what a registry of metrics exports, one name with its labels on a line.
func names(t *testing.T, collector prometheus.Collector) []string {
	t.Helper()
	descriptions := make(chan *prometheus.Desc)
	go func() {
		collector.Describe(descriptions)
		close(descriptions)
	}()
	var lines []string
	for description := range descriptions {
		match := described.FindStringSubmatch(description.String())
		if match == nil {
			t.Fatalf("cannot read %s", description)
		}
		if !strings.HasPrefix(match[1], namespace+"_") {
			continue // of the runtime
		}
		var labels []string
		for _, part := range strings.FieldsFunc(match[2]+","+match[3], func(r rune) bool { return r == ',' || r == ' ' }) {
			label, _, _ := strings.Cut(part, "=")
			labels = append(labels, label)
		}
		slices.Sort(labels)
		lines = append(lines, strings.TrimSpace(match[1]+" "+strings.Join(labels, ",")))
	}
	slices.Sort(lines)
	return slices.Compact(lines)
}

// Behaviour 96. Dashboards and alerts know metrics by these names and labels.
func TestNamesAndLabelsOfMetrics(t *testing.T) {
	m := NewMetrics()
	m.WatchLimits(limiter.New(1, 0, 0), limiter.New(1, 0, 0), func() int { return 0 })
	got := strings.Join(names(t, m.registry), "\n") + "\n"
	golden := filepath.Join("testdata", "metrics.golden")
	if *update {
		if err := os.MkdirAll("testdata", 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("names or labels changed (-want +got):\n%s", diff)
	}
}

func TestOperationsOfRequests(t *testing.T) {
	byTag, byDigest := route.Route{Kind: route.Manifest, Tag: "v1"}, route.Route{Kind: route.Manifest}
	for name, test := range map[string]struct {
		method string
		route  route.Route
		want   string
	}{
		"blob HEAD":               {http.MethodHead, route.Route{Kind: route.Blob}, "BlobStore.Stat"},
		"blob GET":                {http.MethodGet, route.Route{Kind: route.Blob}, "BlobStore.ServeBlob"},
		"blob DELETE":             {http.MethodDelete, route.Route{Kind: route.Blob}, "BlobStore.Delete"},
		"manifest HEAD by digest": {http.MethodHead, byDigest, "ManifestService.Exists"},
		"manifest GET by tag":     {http.MethodGet, byTag, "ManifestService.Get TagService.Get"},
		"manifest PUT by tag":     {http.MethodPut, byTag, "ManifestService.Put TagService.Tag"},
		"manifest DELETE":         {http.MethodDelete, byDigest, "ManifestService.Delete"},
		"tag DELETE":              {http.MethodDelete, byTag, "TagService.Untag"},
		"tags":                    {http.MethodGet, route.Route{Kind: route.Tags}, "TagService.All"},
		"an upload":               {http.MethodPut, route.Route{Kind: route.Upload}, ""},
	} {
		if got := strings.Join(operationsOf(test.method, test.route), " "); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

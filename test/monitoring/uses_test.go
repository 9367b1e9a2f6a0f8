//go:build component

package monitoring

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// use is one metric of a query as hack/promrules prints it.
type use struct {
	Where     string   `json:"where"`
	Metric    string   `json:"metric"`
	Labels    []string `json:"labels"`
	Functions []string `json:"functions"`
	Kept      []string `json:"kept"`
}

// ofPrometheus are the labels that a target gets from what is scraped.
var ofPrometheus = []string{"namespace", "job", "pod", "instance", "service", "container", "endpoint"}

// borrowed are the metrics of libraries that rules and dashboard use.
var borrowed = map[string]metric{
	"up":                            {kind: "gauge"},
	"process_resident_memory_bytes": {kind: "gauge"},
	"apiserver_request_total":       {kind: "counter", labels: []string{"verb", "resource", "group", "version", "code", "scope", "subresource"}},
	"rest_client_requests_total":    {kind: "counter", labels: []string{"code", "method", "host"}},
}

func usesOf(t *testing.T, queries map[string]string) []use {
	t.Helper()
	in, err := json.Marshal(queries)
	if err != nil {
		t.Fatal(err)
	}
	program, err := filepath.Abs(filepath.Join(root, "_output", "bin", "promrules"))
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), program, "uses")
	command.Stdin = bytes.NewReader(in)
	var complaint bytes.Buffer
	command.Stderr = &complaint
	out, err := command.Output()
	if err != nil {
		t.Fatalf("promrules uses (make test-component builds it): %v\n%s", err, complaint.String())
	}
	var found []use
	if err := json.Unmarshal(out, &found); err != nil {
		t.Fatal(err)
	}
	return found
}

// recordedMetrics are the results of recording rules, which have the labels of their rule and those they are summed by.
func recordedMetrics(t *testing.T, uses []use) map[string]metric {
	t.Helper()
	out := map[string]metric{}
	for _, r := range rules(t) {
		if r.Record == "" {
			continue
		}
		m := metric{name: r.Record, kind: "gauge"}
		for label := range r.Labels {
			m.labels = append(m.labels, label)
		}
		for _, u := range uses {
			if strings.HasPrefix(u.Where, "rule "+r.Record) {
				m.labels = append(m.labels, u.Kept...)
			}
		}
		out[r.Record] = m
	}
	return out
}

// seriesOf finds the metric that a series belongs to, with the kind of the series: the parts of a histogram count.
func seriesOf(known map[string]metric, name string) (metric, bool) {
	if m, ok := known[name]; ok {
		return m, m.kind != "histogram"
	}
	for _, suffix := range []string{"_bucket", "_count", "_sum"} {
		base, cut := strings.CutSuffix(name, suffix)
		if m, ok := known[base]; ok && cut && m.kind == "histogram" {
			m.kind = "counter"
			if suffix == "_bucket" {
				m.labels = append(slices.Clone(m.labels), "le")
			}
			return m, true
		}
	}
	return metric{}, false
}

var (
	ofCounters = []string{"rate", "irate", "increase"}
	ofGauges   = []string{"delta", "deriv", "predict_linear", "idelta"}
)

// Every query is one that Prometheus can read; each metric in it exists, has the labels that the query asks for,
// and is of the kind that its functions are for.
func TestQueriesFitTheMetrics(t *testing.T) {
	uses := usesOf(t, expressions(t))
	if len(uses) < 60 {
		t.Fatalf("only %d metrics were found in the queries", len(uses))
	}
	known := recordedMetrics(t, uses)
	for _, part := range metricsByPart(t) {
		for name, m := range part {
			known[name] = m
		}
	}
	for name, m := range borrowed {
		known[name] = m
	}
	for _, u := range uses {
		m, ok := seriesOf(known, u.Metric)
		if !ok {
			t.Errorf("%s: there is no series %s", u.Where, u.Metric)
			continue
		}
		for _, label := range u.Labels {
			if !has(u.Metric, m, label) {
				t.Errorf("%s: %s has no label %s", u.Where, u.Metric, label)
			}
		}
		first := ""
		if len(u.Functions) > 0 {
			first = u.Functions[0]
		}
		switch isCounter := slices.Contains(ofCounters, first); {
		case isCounter && m.kind != "counter":
			t.Errorf("%s: %s of %s, which is a %s", u.Where, first, u.Metric, m.kind)
		case slices.Contains(ofGauges, first) && m.kind != "gauge":
			t.Errorf("%s: %s of %s, which is a %s", u.Where, first, u.Metric, m.kind)
		case !isCounter && m.kind == "counter" && strings.HasPrefix(u.Where, "panel"):
			t.Errorf("%s: counter %s without rate or increase says nothing after a restart", u.Where, u.Metric)
		}
	}
	legendsFit(t, uses, known)
}

func has(name string, m metric, label string) bool {
	if slices.Contains(m.labels, label) || slices.Contains(ofPrometheus, label) {
		return true
	}
	return label == "node" && strings.HasPrefix(name, "node_ca_")
}

var inLegend = regexp.MustCompile(`{{\s*(\w+)\s*}}`)

// legendsFit holds the labels in the legends of the dashboard to what the queries leave.
func legendsFit(t *testing.T, uses []use, known map[string]metric) {
	t.Helper()
	for where, legend := range legends(t) {
		for _, match := range inLegend.FindAllStringSubmatch(legend, -1) {
			found := false
			for _, u := range uses {
				if u.Where != where {
					continue
				}
				m, _ := seriesOf(known, u.Metric)
				if u.Kept == nil && has(u.Metric, m, match[1]) || slices.Contains(u.Kept, match[1]) {
					found = true
				}
			}
			if !found {
				t.Errorf("%s: no result has label %s of legend %q", where, match[1], legend)
			}
		}
	}
}

package cluster

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"image.alauda.io/registry/hack/devcluster/internal/plan"
)

func TestWantedValuesAreCompletedFromWhatThereIs(t *testing.T) {
	for name, tc := range map[string]struct {
		options UpOptions
		have    record
		want    record
		fails   bool
	}{
		"nothing said, nothing there": {UpOptions{}, record{}, record{2, 5000}, false},
		"keeps what is there":         {UpOptions{}, record{3, 5001}, record{3, 5001}, false},
		"grows":                       {UpOptions{Nodes: 3}, record{2, 5000}, record{3, 5000}, false},
		"does not shrink":             {UpOptions{Nodes: 1}, record{2, 5000}, record{}, true},
		"another port":                {UpOptions{RegistryPort: 5002}, record{2, 5000}, record{2, 5002}, false},
	} {
		got, err := tc.options.merge(tc.have)
		if (err != nil) != tc.fails || err == nil && got != tc.want {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, tc.want)
		}
	}
}

func TestOptionsOutsideTheirRangeAreRefused(t *testing.T) {
	for _, o := range []UpOptions{{Nodes: -1}, {Nodes: plan.MaxNodes + 1}, {RegistryPort: -1}, {RegistryPort: 70000}} {
		if o.Validate() == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
}

func TestANodeIsReadyOnlyByWhatItsKubeletSaidItself(t *testing.T) {
	start := time.Date(2030, 1, 1, 12, 0, 0, 500, time.UTC)
	condition := func(status corev1.ConditionStatus, at time.Time) *corev1.Node {
		return &corev1.Node{Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{
			{Type: corev1.NodeReady, Status: status, LastHeartbeatTime: metav1.NewTime(at)}}}}
	}
	for name, tc := range map[string]struct {
		node *corev1.Node
		ok   bool
	}{
		"said so":               {condition(corev1.ConditionTrue, start.Add(time.Second)), true},
		"in the same second":    {condition(corev1.ConditionTrue, start.Truncate(time.Second)), true},
		"before the last start": {condition(corev1.ConditionTrue, start.Add(-time.Minute)), false},
		"not ready":             {condition(corev1.ConditionFalse, start.Add(time.Second)), false},
		"unknown":               {condition(corev1.ConditionUnknown, start.Add(time.Second)), false},
		"silent":                {&corev1.Node{}, false},
	} {
		if err := ready(tc.node, start); (err == nil) != tc.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAFailureCarriesTheEndOfTheLog(t *testing.T) {
	c := New(plan.NewLayout(t.TempDir()), &bytes.Buffer{})
	if err := writeFile(c.layout.Log("etcd"), []byte("first\nlast words\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	err := c.await(context.Background(), "etcd", time.Minute, func(context.Context) error { return errors.New("no answer") })
	var failure *Failure
	if !errors.As(err, &failure) {
		t.Fatalf("error %v", err)
	}
	if failure.Daemon != "etcd" || !strings.HasSuffix(failure.Tail, "last words") || !strings.Contains(err.Error(), "ended") {
		t.Errorf("failure %+v", failure)
	}
}

func TestOnlyBuiltProgramsOutliveTheCluster(t *testing.T) {
	c := New(plan.NewLayout(t.TempDir()), &bytes.Buffer{})
	for _, path := range []string{c.layout.Binary("etcd"), c.layout.Kubeconfig(), c.layout.Log("etcd"), filepath.Join(c.layout.Volumes(), "pvc-1", "data"), c.layout.RegistryCA()} {
		if err := writeFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := c.removeState(); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(c.layout.State)
	if err != nil || len(entries) != 1 || entries[0].Name() != "bin" {
		t.Errorf("left: %v, %v", entries, err)
	}
}

func TestNodesThatDoNotExistAreNamed(t *testing.T) {
	c := New(plan.NewLayout(t.TempDir()), &bytes.Buffer{})
	if _, err := c.node("node1"); err == nil || !strings.Contains(err.Error(), "no development cluster") {
		t.Errorf("without a cluster: %v", err)
	}
	if err := c.save(record{Nodes: 2, RegistryPort: 5000}); err != nil {
		t.Fatal(err)
	}
	for name, ok := range map[string]bool{"node1": true, "node2": true, "node3": false, "master": false} {
		if _, err := c.node(name); (err == nil) != ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAClusterGrowsAndShrinksAtItsEnd(t *testing.T) {
	two := record{Nodes: 2, RegistryPort: 5000}
	for name, tc := range map[string]struct {
		change func(record) (record, plan.Node, error)
		nodes  int
		node   string
		fails  string
	}{
		"the next one":             {func(r record) (record, plan.Node, error) { return r.grown("") }, 3, "node3", ""},
		"the next one by name":     {func(r record) (record, plan.Node, error) { return r.grown("node3") }, 3, "node3", ""},
		"one that is there":        {func(r record) (record, plan.Node, error) { return r.grown("node1") }, 2, "node1", ""},
		"one that leaves a gap":    {func(r record) (record, plan.Node, error) { return r.grown("node4") }, 0, "", "next node is node3"},
		"no node":                  {func(r record) (record, plan.Node, error) { return r.grown("master") }, 0, "", "not a node"},
		"too many":                 {func(record) (record, plan.Node, error) { return record{Nodes: plan.MaxNodes}.grown("") }, 0, "", "at most"},
		"the last goes":            {func(r record) (record, plan.Node, error) { return r.shrunk("node2") }, 1, "node2", ""},
		"one that is not there":    {func(r record) (record, plan.Node, error) { return r.shrunk("node3") }, 2, "node3", ""},
		"one from the middle":      {func(r record) (record, plan.Node, error) { return r.shrunk("node1") }, 0, "", "node2"},
		"the only one":             {func(record) (record, plan.Node, error) { return record{Nodes: 1}.shrunk("node1") }, 0, "", "only node"},
		"what is not a node stays": {func(r record) (record, plan.Node, error) { return r.shrunk("../etc") }, 0, "", "not a node"},
	} {
		got, n, err := tc.change(two)
		switch {
		case tc.fails != "" && (err == nil || !strings.Contains(err.Error(), tc.fails)):
			t.Errorf("%s: %v, want an error about %q", name, err, tc.fails)
		case tc.fails == "" && (err != nil || got.Nodes != tc.nodes || n.Name() != tc.node):
			t.Errorf("%s: %d nodes, %s, %v; want %d, %s", name, got.Nodes, n.Name(), err, tc.nodes, tc.node)
		}
	}
}

func TestAllFilesOfANodeGoAndNoneOfAnother(t *testing.T) {
	c := New(plan.NewLayout(t.TempDir()), &bytes.Buffer{})
	gone, kept := plan.Node{Index: 1}, plan.Node{Index: 10}
	files := func(n plan.Node) []string {
		return []string{filepath.Join(c.layout.Run(), n.Daemon(kubelet)+".json"), c.layout.Node(n, "root", "var", "x"), c.layout.PKIFile(n.Name() + ".key")}
	}
	for _, path := range append(files(gone), files(kept)...) {
		if err := writeFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := c.removeFiles(gone); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]bool{files(gone)[0]: false, files(gone)[1]: false, files(gone)[2]: false,
		files(kept)[0]: true, files(kept)[1]: true, files(kept)[2]: true} {
		if _, err := os.Stat(path); (err == nil) != want {
			t.Errorf("%s: %v, want it there: %v", path, err, want)
		}
	}
}

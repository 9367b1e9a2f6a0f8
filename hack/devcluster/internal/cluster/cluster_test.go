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

package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"
	"k8s.io/utils/clock"

	"image.alauda.io/registry/pkg/nodeca/reasons"
)

const (
	ownKey  = "image-registry.image-registry-system.svc..5000"
	ownHost = "image-registry.image-registry-system.svc:5000"
	address = "198.18.128.7"
)

var started = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const listening = `containerd/config.toml=version = 2
[plugins."io.containerd.grpc.v1.cri".registry]
config_path = "/etc/containerd/certs.d"
`

// Behaviours 14, 27, 28, 30.
func TestLifeOfANode(t *testing.T) {
	n := newNode(t, listening, "docker/daemon.json={}", "containerd/certs.d/docker.io/hosts.toml=server = 'x'\n")
	before := n.snapshot()
	n.publish("")
	status := n.pass()
	if !status.Ready || words(status) != "" || !status.HostsFile.Present || len(status.Hosts) != 1 || len(status.Hosts[0].Roots) != 2 {
		t.Fatalf("first pass: %+v", status)
	}
	if n.read("containerd/certs.d/"+ownHost+"/ca.crt") != n.certs[ownKey] || !strings.Contains(n.read("hosts"), address) {
		t.Errorf("hosts file %q", n.read("hosts"))
	}
	var calls []string
	n.agent.fault = func(op, path string) error { calls = append(calls, op+" "+path); return nil }
	if n.pass(); len(calls) != 0 {
		t.Errorf("second pass made the calls %v", calls)
	}

	for range 2 {
		n.options.Mode = ModeCleanup
		n.restart()
		for range 2 {
			if status := n.pass(); !status.Ready || !maps.Equal(before, n.snapshot()) {
				t.Fatalf("cleanup: %+v, %v", status, slices.Sorted(maps.Keys(n.snapshot())))
			}
		}
		n.options.Mode = ModeSync
		n.restart()
		if status := n.pass(); !status.Ready {
			t.Fatalf("back to sync: %+v", status)
		}
	}
}

// Behaviour 28.
func TestCleanupThatCannotFinishIsNotReady(t *testing.T) {
	n := newNode(t, listening)
	n.publish("")
	n.pass()
	n.options.Mode = ModeCleanup
	n.restart()
	n.agent.fault = func(string, string) error { return syscall.EROFS }
	if status := n.pass(); status.Ready || words(status) != reasons.ReadOnlyFilesystem {
		t.Errorf("status %+v", status)
	}
}

// Behaviour 16.
func TestRemovalsWaitForTheHashOrForStability(t *testing.T) {
	for name, test := range map[string]struct {
		hash  string
		wait  time.Duration
		stays bool
	}{
		"matching hash":          {"", 0, false},
		"other hash":             {"sha256:other", 2 * time.Minute, true},
		"other hash, stable 3 m": {"sha256:other", 3 * time.Minute, false},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t, listening)
			n.certs["a.example.com"] = n.certs[ownKey]
			n.publish("")
			n.pass()
			delete(n.certs, "a.example.com")
			n.hosts = "[]"
			n.publish(test.hash)
			n.clock.Step(hostsInterval)
			n.pass()
			n.clock.Step(test.wait)
			status := n.pass()
			if stays := n.read("containerd/certs.d/a.example.com/ca.crt") != ""; stays != test.stays {
				t.Errorf("directory stays: %v", stays)
			}
			if stays := strings.Contains(n.read("hosts"), address); stays != test.stays || !status.Ready {
				t.Errorf("mapping stays: %v, status %+v", stays, status)
			}
		})
	}
}

// Behaviours 3, 16.
func TestNothingIsRemovedWhenInputsVanish(t *testing.T) {
	for name, vanish := range map[string]func(n *node){
		"no keys":   func(n *node) { n.volume(n.options.CertificatesDir, nil) },
		"no config": func(n *node) { n.volume(n.options.ConfigDir, nil) },
		"no ConfigMaps": func(n *node) {
			n.must(os.RemoveAll(n.options.CertificatesDir))
			n.must(os.RemoveAll(n.options.ConfigDir))
		},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t, listening)
			n.publish("")
			n.pass()
			before := n.snapshot()
			vanish(n)
			if status := n.pass(); !status.Ready || words(status) != "" {
				t.Errorf("at once: %+v", status)
			}
			n.clock.Step(5 * time.Minute)
			if status := n.pass(); status.Ready || words(status) != reasons.ConfigurationMissing {
				t.Errorf("after 5 minutes: %+v", status)
			}
			n.clock.Step(time.Hour)
			n.pass()
			if !maps.Equal(before, n.snapshot()) {
				t.Error("something was changed")
			}
			n.restart()
			if status := n.pass(); status.Ready || !maps.Equal(before, n.snapshot()) {
				t.Errorf("after a restart: %+v", status)
			}
		})
	}
}

func TestInvalidInputKeepsWhatWasThere(t *testing.T) {
	n := newNode(t, listening)
	n.publish("")
	n.pass()
	before := n.snapshot()
	n.certs[ownKey] = "garbage"
	n.certs["b.example.com"] = certificate(started.Add(-time.Hour))
	n.hosts = `[{"ip":"127.0.0.1","names":["kubernetes.default.svc"]}]`
	n.publish("")
	status := n.pass()
	if words(status) != "CAExpired InvalidHostEntry InvalidPEM" || n.read("hosts") != before[filepath.Join(n.options.HostEtc, "hosts")][len("-rw-r--r--"):] {
		t.Errorf("reasons %s, hosts %q", words(status), n.read("hosts"))
	}
	if n.read("containerd/certs.d/"+ownHost+"/ca.crt") == "" || n.read("containerd/certs.d/b.example.com/ca.crt") == "" {
		t.Error("a file is missing")
	}
	n.volume(n.options.ConfigDir, map[string][]byte{"config.json": []byte("{")})
	if status := n.pass(); status.Ready || !status.has(reasons.InvalidConfiguration) {
		t.Errorf("bad configuration: %+v", status)
	}
}

// Behaviours 18, 35.
func TestOneBrokenRootDoesNotKeepTheOthersFromBeingServed(t *testing.T) {
	n := newNode(t, listening, "docker/")
	n.publish("")
	n.agent.fault = func(_, path string) error {
		if strings.HasPrefix(path, "/etc/containerd") {
			return syscall.ENOSPC
		}
		return nil
	}
	status := n.pass()
	if !status.Ready || words(status) != reasons.NoSpace || len(status.Hosts[0].Roots) != 1 {
		t.Errorf("status %+v", status)
	}
	if got := testutil.ToFloat64(n.agent.metrics.condition.WithLabelValues(reasons.NoSpace, "error")); got != 1 {
		t.Errorf("condition metric %v", got)
	}
}

// Behaviour 35.
func TestIneffectiveTrustIsReportedAndStrictMakesItFail(t *testing.T) {
	n := newNode(t, "containerd/")
	n.publish("")
	status := n.pass()
	if !status.Ready || words(status) != reasons.ConfigPathNotSet || status.Roots[0].Effective != "false" {
		t.Errorf("status %+v", status)
	}
	if !strings.Contains(status.Reasons[0].Message, `config_path = "/etc/containerd/certs.d"`) {
		t.Errorf("message %q does not say what to add", status.Reasons[0].Message)
	}
	if got := testutil.ToFloat64(n.agent.metrics.effective.WithLabelValues("/etc/containerd/certs.d", "containerd")); got != 0 {
		t.Errorf("metric %v", got)
	}
	n.options.Strict = true
	n.restart()
	if n.pass().Ready {
		t.Error("ready although strict")
	}
}

// Behaviour 15.
func TestAContestedHostsFileIsLeftForFiveMinutes(t *testing.T) {
	n := newNode(t, listening)
	n.publish("")
	writes := 0
	for range 30 {
		if err := os.WriteFile(filepath.Join(n.options.HostEtc, "hosts"), []byte("127.0.0.1 localhost\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		status := n.pass()
		if status.HostsFile.Present {
			writes++
		}
		n.clock.Step(11 * time.Second)
	}
	if writes != 1+maxRepairs+1 {
		t.Errorf("%d writes in 5.5 minutes, want %d", writes, 1+maxRepairs+1)
	}
	if status := n.pass(); !status.has(reasons.Contention) || status.Ready {
		t.Errorf("status %+v", status)
	}
}

// Behaviour 26.
func TestTheHostsFileIsNotTouchedWhenSwitchedOff(t *testing.T) {
	n := newNode(t, listening)
	n.options.ManageHosts = false
	n.restart()
	n.publish("")
	n.agent.fault = func(op, path string) error {
		if path == "/etc/hosts" {
			t.Errorf("%s %s", op, path)
		}
		return nil
	}
	if status := n.pass(); !status.Ready || n.read("hosts") != "127.0.0.1 localhost\n" {
		t.Errorf("status %+v", status)
	}
}

func TestADryRunChangesNothing(t *testing.T) {
	n := newNode(t)
	n.options.DryRun = true
	n.restart()
	n.publish("")
	before := n.snapshot()
	n.pass()
	if !maps.Equal(before, n.snapshot()) || !strings.Contains(n.log.String(), "certs.d") || !strings.Contains(n.log.String(), "hosts file") {
		t.Errorf("log %s", n.log)
	}
}

// Behaviour 39.
func TestLogsHoldNoCertificatesAndRepeatHourly(t *testing.T) {
	n := newNode(t, "containerd/")
	n.publish("")
	for range 10 {
		n.pass()
		n.clock.Step(7 * time.Minute)
	}
	if got := strings.Count(n.log.String(), reasons.ConfigPathNotSet); got != 2 {
		t.Errorf("warned %d times in 63 minutes, want 2", got)
	}
	if strings.Contains(n.log.String(), "CERTIFICATE") {
		t.Error("the log holds a certificate")
	}
}

// Behaviour 34.
func TestProbesFollowTheStatus(t *testing.T) {
	n := newNode(t, "containerd/")
	dir := n.options.StateDir
	if CheckReadiness(dir) == nil || CheckLiveness(dir, started) == nil {
		t.Error("healthy before the first pass")
	}
	n.publish("")
	n.must(WriteStatus(dir, n.pass()))
	n.must(os.Remove(filepath.Join(dir, probeFile)))
	failed := []int{}
	for probe := 1; probe <= 35; probe++ {
		if err := CheckReadiness(dir); err != nil {
			failed = append(failed, probe)
			if !strings.HasPrefix(err.Error(), "ConfigPathNotSet: containerd ignores /etc/containerd/certs.d") {
				t.Errorf("probe says %v", err)
			}
		}
	}
	if !slices.Equal(failed, []int{10, 20, 30}) {
		t.Errorf("failed probes %v", failed)
	}
	if err := CheckLiveness(dir, started.Add(5*time.Minute)); err != nil {
		t.Error(err)
	}
	if CheckLiveness(dir, started.Add(5*time.Minute+time.Second)) == nil {
		t.Error("alive after more than 5 minutes")
	}
	n.must(WriteStatus(dir, Status{Reasons: []reasons.Reason{reasons.New(reasons.NoSpace, "", "", "disk full")}}))
	if err := CheckReadiness(dir); err == nil || err.Error() != "NoSpace: disk full" {
		t.Errorf("not ready: %v", err)
	}
}

// Behaviours 15, 29, 37: with the real clock, because inotify decides when something happens.
func TestTheLoopNoticesChangesAndStopsAtOnce(t *testing.T) {
	n := newNode(t, listening)
	n.publish("")
	n.options.Resync = 10 * time.Minute
	n.agent = New(n.options, clock.RealClock{}, zap.NewNop(), NewMetrics())
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- n.agent.Run(ctx) }()
	ca := "containerd/certs.d/" + ownHost + "/ca.crt"
	n.eventually("first pass", func() bool { return n.read(ca) == n.certs[ownKey] && strings.Contains(n.read("hosts"), address) })
	n.eventually("status", func() bool { status, err := ReadStatus(n.options.StateDir); return err == nil && status.Ready })

	n.certs[ownKey] = certificate(time.Now().Add(time.Hour))
	n.publish("")
	n.eventually("new CA", func() bool { return n.read(ca) == n.certs[ownKey] })
	n.must(os.Remove(filepath.Join(n.options.HostEtc, ca)))
	n.eventually("repair", func() bool { return n.read(ca) == n.certs[ownKey] })

	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Second):
		t.Error("still running a second after it was told to stop")
	}
	if n.read(ca) == "" {
		t.Error("stopping removed the CA")
	}
}

func (n *node) eventually(what string, condition func() bool) {
	n.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for tick := time.NewTicker(20 * time.Millisecond); time.Now().Before(deadline); <-tick.C {
		if condition() {
			return
		}
	}
	n.t.Fatalf("%s did not happen", what)
}

func TestStatusHasTheDocumentedForm(t *testing.T) {
	n := newNode(t, listening)
	n.publish("")
	data, err := json.Marshal(n.pass())
	n.must(err)
	var fields map[string]any
	n.must(json.Unmarshal(data, &fields))
	want := []string{"configHash", "hosts", "hostsFile", "mode", "node", "ready", "reasons", "roots", "time"}
	if got := slices.Sorted(maps.Keys(fields)); !slices.Equal(got, want) {
		t.Errorf("fields %v", got)
	}
	if strings.Contains(string(data), "null") {
		t.Errorf("null in %s", data)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"mode": func(o *Options) { o.Mode = "x" }, "resync": func(o *Options) { o.Resync = time.Second }, "level": func(o *Options) { o.LogLevel = "x" },
		"address": func(o *Options) { o.MetricsAddr = "x" }, "root": func(o *Options) { o.Roots = []string{"/var"} }, "etc": func(o *Options) { o.HostEtc = "" },
	} {
		options := Defaults()
		change(&options)
		if options.Validate() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// What one pass costs on a node with as many hosts as there may be.
func BenchmarkPassWith1000Hosts(b *testing.B) {
	n := newNode(b, listening)
	for i := range 1000 {
		n.certs[fmt.Sprintf("r%d.example.com..5000", i)] = n.certs[ownKey]
	}
	n.publish("")
	n.pass()
	for b.Loop() {
		n.pass()
	}
}

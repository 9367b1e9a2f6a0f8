package supervise

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"image.alauda.io/registry/hack/devcluster/internal/proc"
)

func newSupervisor(t *testing.T) Supervisor {
	t.Helper()
	dir := t.TempDir()
	s := Supervisor{Run: filepath.Join(dir, "run"), Logs: filepath.Join(dir, "logs"), Table: proc.System()}
	t.Cleanup(func() {
		for _, r := range s.List() {
			_ = s.Stop(r.Name, time.Second)
		}
	})
	return s
}

func ensure(t *testing.T, s Supervisor, spec Spec, wantStarted bool) Record {
	t.Helper()
	started, err := s.Ensure(spec)
	if err != nil {
		t.Fatal(err)
	}
	if started != wantStarted {
		t.Fatalf("%s started: %v, want %v", spec.Name, started, wantStarted)
	}
	record, ok := s.Living(spec.Name)
	if !ok {
		t.Fatalf("%s does not run", spec.Name)
	}
	return record
}

func TestADaemonIsStartedOnceAndAgainWhenItsInputsChange(t *testing.T) {
	s := newSupervisor(t)
	input := filepath.Join(t.TempDir(), "conf")
	if err := os.WriteFile(input, []byte("a"), 0o644); err != nil {
		t.Fatal(err)
	}
	spec := Spec{Name: "one", Args: []string{"sleep", "600"}, Inputs: []string{input}}
	first := ensure(t, s, spec, true)
	if second := ensure(t, s, spec, false); second.PID != first.PID {
		t.Errorf("process %d replaced by %d without a reason", first.PID, second.PID)
	}
	if err := os.WriteFile(input, []byte("b"), 0o644); err != nil {
		t.Fatal(err)
	}
	kept := spec
	kept.Keep = true
	ensure(t, s, kept, false)
	if third := ensure(t, s, spec, true); third.PID == first.PID {
		t.Error("changed input, same process")
	}
}

func TestADeadDaemonIsStartedAgain(t *testing.T) {
	s := newSupervisor(t)
	spec := Spec{Name: "two", Args: []string{"sleep", "600"}}
	ensure(t, s, spec, true)
	if err := s.Stop("two", 5*time.Second); err != nil {
		t.Fatal(err)
	}
	if _, ok := s.Living("two"); ok {
		t.Error("lives after Stop")
	}
	if err := s.Stop("two", time.Second); err != nil {
		t.Errorf("second Stop: %v", err)
	}
	ensure(t, s, spec, true)
}

func TestTailReturnsTheLastLines(t *testing.T) {
	s := newSupervisor(t)
	if err := os.MkdirAll(s.Logs, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.Log("x"), []byte(strings.Repeat("filler\n", 20000)+"a\nb\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := s.Tail("x", 2); got != "a\nb" {
		t.Errorf("tail %q", got)
	}
	if got := s.Tail("missing", 2); got != "" {
		t.Errorf("tail of nothing %q", got)
	}
}

func TestABrokenRecordIsNoDaemon(t *testing.T) {
	s := newSupervisor(t)
	if err := os.MkdirAll(s.Run, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"a": "", "b": "{", "c": `{"name":"other","pid":1}`} {
		if err := os.WriteFile(filepath.Join(s.Run, name+".json"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if r, ok := s.Load(name); ok {
			t.Errorf("%q is a record: %+v", text, r)
		}
	}
}

// Package supervise starts, watches and stops the daemons of the cluster.
//
// A daemon is started in a session of its own with its output in a log file,
// and a record of it is written: its identity (see package proc) and a hash of
// what it was started with. The next `up` finds it by the record, leaves it
// alone while it lives and its configuration is the same, and starts it again
// otherwise.
//
// In: a Spec. Out: a running process and a JSON record. Nothing restarts a
// daemon on its own: a fault test that kills one must see it dead.
package supervise

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"syscall"
	"time"

	"image.alauda.io/registry/hack/devcluster/internal/proc"
)

// Spec says how a daemon is started.
type Spec struct {
	Name string
	// Args is the program with its arguments.
	Args []string
	// Env is the whole environment: nothing of the caller's, such as a proxy,
	// reaches a daemon.
	Env []string
	// Inputs are files whose change makes a restart necessary.
	Inputs []string
	// Keep leaves a living daemon alone whatever changed.
	Keep bool
}

// Record is what is remembered of a daemon.
type Record struct {
	proc.Identity
	Name string   `json:"name"`
	Hash string   `json:"hash"`
	Args []string `json:"args"`
	// Since is when it was started.
	Since time.Time `json:"since"`
}

// Supervisor keeps records in one folder and logs in another.
type Supervisor struct {
	Run, Logs string
	Table     proc.Table
}

// Ensure starts the daemon unless it already runs with the same inputs, and
// says whether it was started.
func (s Supervisor) Ensure(spec Spec) (bool, error) {
	hash, err := spec.hash()
	if err != nil {
		return false, fmt.Errorf("%s: %w", spec.Name, err)
	}
	if record, ok := s.Living(spec.Name); ok {
		if spec.Keep || record.Hash == hash {
			return false, nil
		}
		if err := s.Stop(spec.Name, 10*time.Second); err != nil {
			return false, err
		}
	}
	if err := s.start(spec, hash); err != nil {
		return false, fmt.Errorf("start %s: %w", spec.Name, err)
	}
	return true, nil
}

// hash covers the command line, the environment and the content of input
// files.
func (spec Spec) hash() (string, error) {
	h := sha256.New()
	fmt.Fprintf(h, "%q%q", spec.Args, spec.Env)
	for _, path := range spec.Inputs {
		b, err := os.ReadFile(path)
		if err != nil {
			return "", fmt.Errorf("input %s: %w", path, err)
		}
		fmt.Fprintf(h, "%q%x", path, sha256.Sum256(b))
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func (s Supervisor) start(spec Spec, hash string) error {
	for _, dir := range []string{s.Run, s.Logs} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	log, err := s.openLog(spec.Name)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(spec.Args[0], spec.Args[1:]...)
	cmd.Env = append(slices.Clone(spec.Env), proc.Mark+"="+spec.Name)
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	id, err := s.Table.Identify(cmd.Process.Pid)
	go func() { _ = cmd.Wait() }()
	if err != nil {
		return fmt.Errorf("it ended at once: %w", err)
	}
	return s.write(Record{Identity: id, Name: spec.Name, Hash: hash, Args: spec.Args, Since: time.Now()})
}

// openLog keeps the log of the run before as NAME.log.old.
func (s Supervisor) openLog(name string) (*os.File, error) {
	path := s.Log(name)
	if err := os.Rename(path, path+".old"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
}

// Log is the log file of a daemon.
func (s Supervisor) Log(name string) string { return filepath.Join(s.Logs, name+".log") }

func (s Supervisor) recordFile(name string) string { return filepath.Join(s.Run, name+".json") }

func (s Supervisor) write(r Record) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	tmp := s.recordFile(r.Name) + ".new"
	if err := os.WriteFile(tmp, append(b, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, s.recordFile(r.Name))
}

// Load returns the record of a daemon, dead or alive.
func (s Supervisor) Load(name string) (Record, bool) {
	b, err := os.ReadFile(s.recordFile(name))
	if err != nil {
		return Record{}, false
	}
	var r Record
	if err := json.Unmarshal(b, &r); err != nil || r.Name != name {
		return Record{}, false
	}
	return r, true
}

// Living returns the record of a daemon that runs.
func (s Supervisor) Living(name string) (Record, bool) {
	r, ok := s.Load(name)
	return r, ok && s.Table.Alive(r.Identity)
}

// List returns all records, sorted by name.
func (s Supervisor) List() []Record {
	files, _ := filepath.Glob(filepath.Join(s.Run, "*.json"))
	sort.Strings(files)
	var records []Record
	for _, f := range files {
		if r, ok := s.Load(strings.TrimSuffix(filepath.Base(f), ".json")); ok {
			records = append(records, r)
		}
	}
	return records
}

// Stop ends a daemon, gently first, and waits until it is gone. A daemon that
// does not run is no error.
func (s Supervisor) Stop(name string, grace time.Duration) error {
	record, ok := s.Living(name)
	if !ok {
		return nil
	}
	for _, step := range []struct {
		signal syscall.Signal
		wait   time.Duration
	}{{syscall.SIGTERM, grace}, {syscall.SIGKILL, 10 * time.Second}} {
		if err := s.Table.Signal(record.Identity, step.signal); err != nil {
			return fmt.Errorf("stop %s: %w", name, err)
		}
		for deadline := time.Now().Add(step.wait); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
			if !s.Table.Alive(record.Identity) {
				return nil
			}
		}
	}
	return fmt.Errorf("stop %s: process %d does not end", name, record.PID)
}

// Tail returns the last lines of a daemon's log.
func (s Supervisor) Tail(name string, lines int) string {
	const most = 64 << 10
	f, err := os.Open(s.Log(name))
	if err != nil {
		return ""
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > most {
		_, _ = f.Seek(-most, 2)
	}
	buf := make([]byte, most)
	n, _ := f.Read(buf)
	all := strings.Split(strings.TrimRight(string(buf[:n]), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

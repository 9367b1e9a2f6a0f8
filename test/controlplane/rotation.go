package controlplane

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// Authority is one more certificate authority, for tests that rotate certificates.
type Authority struct {
	// PEM is its own certificate.
	PEM []byte

	authority *authority
}

// NewAuthority makes an authority.
func NewAuthority(tb testing.TB, name string) *Authority {
	tb.Helper()
	made, err := newAuthority(name)
	if err != nil {
		tb.Fatalf("certificate authority %s: %v", name, err)
	}
	return &Authority{PEM: made.pem, authority: made}
}

// Serving issues a serving certificate for names and addresses.
func (a *Authority) Serving(tb testing.TB, names ...string) (cert, key []byte) {
	tb.Helper()
	return a.issue(tb, names[0], x509.ExtKeyUsageServerAuth, names...)
}

// Client issues a client certificate.
func (a *Authority) Client(tb testing.TB, commonName string) (cert, key []byte) {
	tb.Helper()
	return a.issue(tb, commonName, x509.ExtKeyUsageClientAuth)
}

func (a *Authority) issue(tb testing.TB, commonName string, usage x509.ExtKeyUsage, names ...string) (cert, key []byte) {
	tb.Helper()
	issued, err := a.authority.issue(pkix.Name{CommonName: commonName}, usage, names...)
	if err != nil {
		tb.Fatalf("certificate of %s: %v", commonName, err)
	}
	return issued.cert, issued.key
}

// Log returns what a program of the control plane has written so far.
func (cp *ControlPlane) Log(tb testing.TB, program string) string {
	tb.Helper()
	text, err := os.ReadFile(filepath.Join(cp.Dir, program+".log"))
	if err != nil {
		tb.Fatal(err)
	}
	return string(text)
}

// Suspend stops a program of the control plane in the middle of what it does, as a node that hangs, until
// resume is called or the test ends.
func (cp *ControlPlane) Suspend(tb testing.TB, program string) (resume func()) {
	tb.Helper()
	for _, p := range cp.processes {
		if p.name != program {
			continue
		}
		if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			tb.Fatalf("suspend %s: %v", program, err)
		}
		awaitStopped(tb, p)
		resume = func() { _ = p.cmd.Process.Signal(syscall.SIGCONT) } // fails only when it has ended
		tb.Cleanup(resume)
		return resume
	}
	tb.Fatalf("%s does not run", program)
	return nil
}

// awaitStopped waits until a process does nothing any more: a signal returns before all its threads have stopped, and
// those go on answering for a moment.
func awaitStopped(tb testing.TB, p *process) {
	tb.Helper()
	for deadline := time.Now().Add(stopTimeout); ; time.Sleep(time.Millisecond) {
		running, err := runningThreads(p.cmd.Process.Pid)
		if err == nil && running == 0 {
			return
		}
		if time.Now().After(deadline) {
			tb.Fatalf("suspend %s: %d threads still run: %v", p.name, running, err)
		}
	}
}

// runningThreads counts the threads of a process that are not stopped.
func runningThreads(pid int) (int, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil {
		return 0, err
	}
	running := 0
	for _, file := range files {
		stat, err := os.ReadFile(file)
		if err != nil {
			return 0, err // the thread has just ended
		}
		// The state follows the name, which is in parentheses and may hold anything.
		if _, state, _ := bytes.Cut(stat[bytes.LastIndexByte(stat, ')'):], []byte(" ")); !bytes.HasPrefix(state, []byte("T")) {
			running++
		}
	}
	return running, nil
}

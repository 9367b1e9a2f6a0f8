package controlplane

import (
	"sync"
	"testing"
)

// Shared is one control plane for all tests of a package. It starts with the first test that asks for
// it and ends when the package's tests have ended:
//
//	var shared = controlplane.NewShared(controlplane.WithControllerManager())
//
//	func TestMain(m *testing.M) { os.Exit(shared.Main(m)) }
//
// Tests that share it keep apart by using namespaces of their own.
type Shared struct {
	opts  []Option
	start sync.Once
	cp    *ControlPlane
	err   error
}

// NewShared prepares a shared control plane; nothing runs yet.
func NewShared(opts ...Option) *Shared { return &Shared{opts: opts} }

// Get returns the control plane, started if need be. It fails the test when that is impossible.
func (s *Shared) Get(tb testing.TB) *ControlPlane {
	tb.Helper()
	s.start.Do(func() { s.cp, s.err = New(s.opts...) })
	if s.err != nil {
		tb.Fatalf("starting the control plane of this package: %v", s.err)
	}
	return s.cp
}

// Main runs the package's tests, ends the control plane and returns the exit code.
func (s *Shared) Main(m *testing.M) int {
	code := m.Run()
	if s.cp != nil {
		s.cp.Stop()
	}
	return code
}

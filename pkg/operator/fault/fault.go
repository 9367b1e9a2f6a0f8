// Package fault tells apart why a step of the operator did not succeed.
//
// A permanent fault needs a person or a change outside the operator: it degrades the registry at once, what
// runs is left alone, and it is looked at again with every event. Waiting means that a step is on its way
// and must be repeated. Everything else is transient: an API that is busy, a conflict, a time-out.
//
// In: errors of steps, joined. Out: their classes. The package decides nothing about conditions.
package fault

import (
	"errors"
	"fmt"
	"slices"
)

// Permanent is a fault with a reason for the conditions. The message names the object and the field to
// change and never holds a credential.
type Permanent struct {
	// Reason is one CamelCase word of the specification.
	Reason  string
	Message string
}

func (p *Permanent) Error() string { return p.Reason + ": " + p.Message }

// Permanentf makes a permanent fault.
func Permanentf(reason, format string, args ...any) error {
	return &Permanent{Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// Waiting says what a step waits for.
type Waiting struct{ For string }

func (w *Waiting) Error() string { return "waiting for " + w.For }

// WaitingFor makes a Waiting.
func WaitingFor(format string, args ...any) error { return &Waiting{For: fmt.Sprintf(format, args...)} }

// Classes are the faults of one sync by class.
type Classes struct {
	Permanent []*Permanent
	Waiting   []*Waiting
	Transient []error
}

// Sort takes joined errors apart.
func Sort(err error) Classes {
	var out Classes
	for _, single := range flatten(err) {
		var permanent *Permanent
		var waiting *Waiting
		switch {
		case errors.As(single, &permanent):
			if !out.knows(permanent) {
				out.Permanent = append(out.Permanent, permanent)
			}
		case errors.As(single, &waiting):
			out.Waiting = append(out.Waiting, waiting)
		default:
			out.Transient = append(out.Transient, single)
		}
	}
	return out
}

// knows says whether a fault is there already: several objects may fail for one setting.
func (c Classes) knows(fault *Permanent) bool {
	return slices.ContainsFunc(c.Permanent, func(have *Permanent) bool { return *have == *fault })
}

// flatten undoes errors.Join; an error wrapped with %w stays whole.
func flatten(err error) []error {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var out []error
	for _, single := range joined.Unwrap() {
		out = append(out, flatten(single)...)
	}
	return out
}

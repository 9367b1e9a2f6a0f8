package gc

import (
	"context"
	"fmt"
	"time"

	"image.alauda.io/registry/pkg/registry/store"
)

// Options of one collection.
type Options struct {
	// ID names the run in its report.
	ID string
	// DryRun ends after the plan and writes nothing at all.
	DryRun bool
	// MinAge is the age below which blobs and links stay. While pushes are served it must
	// not be below store.MinimumAge.
	MinAge time.Duration
	// RepoGrace is how long a repository without an ImageStream stays after its last link.
	RepoGrace time.Duration
	// VerifyDelay passes between the removal of links and the second list.
	VerifyDelay time.Duration
	// Workers is how many storage operations run at the same time.
	Workers int
	// AllowEmptyMetadata takes an empty list of Images for the truth.
	AllowEmptyMetadata bool
	// MaxPercent stops a run that would delete more than this part of all blobs. 0 does
	// without that guard.
	MaxPercent int
	// OnFinding hears of each object that would go, or that is about to go: if it ends the
	// context, the object stays. Nil is fine. It is never called twice at the same time.
	OnFinding func(Finding)

	Now func() time.Time
	// Wait pauses and returns early with the context's error.
	Wait func(ctx context.Context, delay time.Duration) error
}

// DefaultOptions are those of a collection beside a serving registry.
func DefaultOptions() Options {
	return Options{
		DryRun: true, MinAge: 24 * time.Hour, RepoGrace: 72 * time.Hour, VerifyDelay: 2 * time.Minute,
		Workers: 32, Now: time.Now, Wait: wait,
	}
}

func wait(ctx context.Context, delay time.Duration) error {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// Validate checks the options. Whether MinAge is safe while pushes are served is the
// caller's to know.
func (o Options) Validate() error {
	switch {
	case o.MinAge < 0 || o.RepoGrace < 0 || o.VerifyDelay < 0:
		return fmt.Errorf("garbage collection: ages must not be negative")
	case o.Workers < 1 || o.Workers > 1024:
		return fmt.Errorf("garbage collection: workers must be 1 to 1024, not %d", o.Workers)
	case o.MaxPercent < 0 || o.MaxPercent > 100:
		return fmt.Errorf("garbage collection: the percentage must be 0 to 100, not %d", o.MaxPercent)
	case o.Now == nil || o.Wait == nil:
		return fmt.Errorf("garbage collection: no clock")
	}
	return nil
}

// Kind is what a Finding is.
type Kind string

// The kinds of findings.
const (
	FoundRepository   Kind = "repository"
	FoundManifestLink Kind = "manifest link"
	FoundLayerLink    Kind = "layer link"
	FoundBlob         Kind = "blob"
)

// Finding is one object that nobody uses.
type Finding struct {
	Kind Kind
	// Repository is empty for a blob.
	Repository store.Repository
	// Digest is empty for a repository.
	Digest string
	// Size in bytes, of a blob.
	Size int64
}

// String names the object as `<kind> <repository>@<digest>`.
func (f Finding) String() string {
	switch f.Kind {
	case FoundRepository:
		return fmt.Sprintf("%s %s", f.Kind, f.Repository)
	case FoundBlob:
		return fmt.Sprintf("%s %s", f.Kind, f.Digest)
	}
	return fmt.Sprintf("%s %s@%s", f.Kind, f.Repository, f.Digest)
}

// Guard is a reason not to collect although nothing failed: what the API says looks as if
// too much would go.
type Guard struct {
	// Name is a word for programs, one of the constants below.
	Name GuardName
	// Message is for people.
	Message string
}

// GuardName tells guards apart.
type GuardName string

// The guards.
const (
	GuardEmpty      GuardName = "NoImages"
	GuardIncomplete GuardName = "IncompleteList"
	GuardUnknown    GuardName = "UndeterminedImage"
	GuardPercent    GuardName = "TooMuch"
	GuardBlocked    GuardName = "Blocked"
)

// Error implements error.
func (g *Guard) Error() string { return fmt.Sprintf("refused (%s): %s", g.Name, g.Message) }

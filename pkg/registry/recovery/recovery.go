// Package recovery compares the storage of the registry with the image API and brings back
// metadata that were lost, or that never were: those of a storage that another registry
// of the same layout has written.
//
// In: the storage, the image API, and what to do (Mode). Out: a line for every problem, in
// words for an administrator, and a Summary. The storage check finds manifests that are
// linked in a repository but unknown to its image stream; the database check finds Images
// and tags whose content is missing.
//
// Recover creates: image streams, Images, tags, links of referrers. It never deletes, never
// moves a tag that exists, and can be repeated at any time. It makes nothing readable that
// is not linked in the repository already: what a manifest names must be linked there as
// well, or the manifest stays lost, for names prove nothing. The check modes write nothing.
package recovery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/registry/imageapi"
	"image.alauda.io/registry/pkg/registry/imagebuild"
	"image.alauda.io/registry/pkg/registry/store"
)

// Mode is what to look for and whether to repair it.
type Mode string

// The modes.
const (
	// Check is CheckStorage and CheckDatabase.
	Check Mode = "check"
	// CheckStorage looks for content that the image API does not know.
	CheckStorage Mode = "check-storage"
	// CheckDatabase looks for objects of the image API whose content is missing.
	CheckDatabase Mode = "check-database"
	// Recover is Check, and repairs what can be repaired.
	Recover Mode = "recover"
)

// ParseMode checks the text of a mode.
func ParseMode(text string) (Mode, error) {
	switch mode := Mode(text); mode {
	case Check, CheckStorage, CheckDatabase, Recover:
		return mode, nil
	}
	return "", fmt.Errorf("the mode must be check, check-storage, check-database or recover, not %q", text)
}

// Metadata lists what the image API has, in pages, completely or with an error.
type Metadata interface {
	StreamPages(ctx context.Context, visit func([]imagev1.ImageStream) error) error
	ImagePages(ctx context.Context, visit func([]imagev1.Image) error) error
}

// Options of a Recovery.
type Options struct {
	Mode Mode
	// Namespace limits the work to the repositories of one namespace; "" is all.
	Namespace string
	// ServerAddr is the prefix of references to this registry.
	ServerAddr string

	Store    *store.Store
	API      imageapi.Client
	Metadata Metadata
	// NamespaceExists tells whether streams can be created there. Nil asks nobody: then a
	// missing namespace shows when its first stream is refused.
	NamespaceExists func(ctx context.Context, name string) (bool, error)

	// Output gets a line for every problem, Progress one now and then during long work.
	Output, Progress io.Writer
	Now              func() time.Time
	// Wait pauses and returns early with the context's error.
	Wait func(ctx context.Context, delay time.Duration) error
}

// Validate tells what is missing.
func (o Options) Validate() error {
	if _, err := ParseMode(string(o.Mode)); err != nil {
		return err
	}
	if o.Store == nil || o.API == nil || o.Metadata == nil || o.Output == nil || o.Progress == nil || o.Now == nil || o.Wait == nil || o.ServerAddr == "" {
		return errors.New("recovery: a storage, an image API, an address, outputs and a clock are needed")
	}
	return nil
}

// Summary is what was seen and done.
type Summary struct {
	Repositories, Manifests, Streams, Images int
	// Problems were found, Repaired of them are no more.
	Problems, Repaired int
}

// Left is the number of problems that are still there.
func (s Summary) Left() int { return s.Problems - s.Repaired }

// Recovery is one run.
type Recovery struct {
	Options
	builder imagebuild.Builder
	pusher  *imageapi.Pusher
	sizes   *sizes

	summary    Summary
	namespaces map[string]bool
	started    time.Time
	told       time.Time
}

// New prepares a run.
func New(options Options) (*Recovery, error) {
	if err := options.Validate(); err != nil {
		return nil, err
	}
	return &Recovery{
		Options:    options,
		builder:    imagebuild.Builder{Store: options.Store, ServerAddr: options.ServerAddr, Now: options.Now},
		pusher:     &imageapi.Pusher{Client: options.API, Now: options.Now, Wait: options.Wait},
		sizes:      &sizes{store: options.Store},
		namespaces: map[string]bool{}, started: options.Now(), told: options.Now(),
	}, nil
}

// Run does the work. After an error the Summary tells how far it came.
func (r *Recovery) Run(ctx context.Context) (Summary, error) {
	if r.Mode != CheckDatabase {
		if err := r.storage(ctx); err != nil {
			return r.summary, err
		}
	}
	if r.Mode != CheckStorage {
		if err := r.database(ctx); err != nil {
			return r.summary, err
		}
	}
	return r.summary, nil
}

// recovers tells whether problems are repaired.
func (r *Recovery) recovers() bool { return r.Mode == Recover }

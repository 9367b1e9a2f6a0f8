package importer

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"k8s.io/utils/clock"

	configv1 "image.alauda.io/api/config/v1"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
)

// Interface is what callers need of an Importer.
type Interface interface {
	// Import looks up what the request asks for. It always returns a complete Result,
	// shortly after the context ends at the latest.
	Import(ctx context.Context, request Request) Result
}

// Settings are the parts of the configuration that an import obeys. They are read anew
// for every request.
type Settings struct {
	// Mode is used where a policy names none.
	Mode imageapi.ImportModeType
	// MaxTags is the number of tags that a repository import looks up; negative means
	// MaxTagsPerRepository.
	MaxTags int
	// Workers is the number of requests to registries that the process makes at a time.
	Workers int
}

// SettingsOf picks the settings from the configuration of the server.
func SettingsOf(config *configv1.ImageImportConfig) Settings {
	settings := DefaultSettings()
	if config.DefaultImportMode != "" {
		settings.Mode = imageapi.ImportModeType(config.DefaultImportMode)
	}
	if config.MaxTagsPerRepository != nil {
		settings.MaxTags = int(*config.MaxTagsPerRepository)
	}
	if config.Workers > 0 {
		settings.Workers = int(config.Workers)
	}
	return settings
}

// DefaultSettings are those of an empty configuration.
func DefaultSettings() Settings {
	return Settings{Mode: imageapi.ImportModePreserveOriginal, MaxTags: 50, Workers: 50}
}

// Bounds of one request, see the fields of Limits.
const (
	// MaxTagsPerRepository bounds the tags that one request looks up.
	MaxTagsPerRepository = 500
	// MaxTagNames bounds the names that are read of one repository.
	MaxTagNames = 10000
	// MaxChildren bounds the children of an index, those of nested ones included.
	MaxChildren = 200
	// MaxIndexDepth bounds how deep indexes are nested; an index of images has depth 1.
	MaxIndexDepth = 3
)

// Limits bound what one request may use of the process.
type Limits struct {
	// RequestWorkers is the number of items, and of requests to registries, at a time.
	RequestWorkers int
	// HostWorkers is the number of requests to one registry host that the process makes or
	// waits for at a time, so that a slow registry does not keep all workers to itself.
	HostWorkers int
	// ImageBytes bounds the JSON of one Image. Labels and configuration are left out of
	// the metadata above it.
	ImageBytes int
	// Parsers is the number of manifests and configs that the process reads at a time.
	Parsers int
	// ProcessBytes bounds ResultBytes and CacheBytes of all requests together.
	ProcessBytes int64
	// ResultBytes bounds the JSON of all Images of one request together.
	ResultBytes int64
	// CacheBytes bounds the raw manifests that a request keeps to itself so as not to
	// fetch them twice.
	CacheBytes int64
	// Remembered is the number of tags of which is remembered which index led to which
	// child in mode Legacy.
	Remembered int
}

// Options make an Importer.
type Options struct {
	// Registries opens repositories. Required.
	Registries Registries
	// Settings returns the current settings. Required.
	Settings func() Settings
	// Platform is preferred where nobody asks for another.
	Platform Platform
	Limits   Limits
	Clock    clock.PassiveClock
}

// DefaultOptions prefer the platform of this process. Registries and Settings are left
// to the caller.
func DefaultOptions() Options {
	return Options{
		Platform: Platform{Arch: runtime.GOARCH, OS: runtime.GOOS},
		Clock:    clock.RealClock{},
		Limits: Limits{
			RequestWorkers: 5, HostWorkers: 8, ImageBytes: 512 << 10,
			Parsers: 2, ProcessBytes: 256 << 20, ResultBytes: 64 << 20, CacheBytes: 32 << 20, Remembered: 10000,
		},
	}
}

// DefaultItemTimeout is the Request.ItemTimeout of work in the background.
const DefaultItemTimeout = time.Minute

// Validate returns what is missing or out of range.
func (o Options) Validate() error {
	var problems []error
	if o.Registries == nil || o.Settings == nil || o.Clock == nil {
		problems = append(problems, errors.New("importer: registries, settings and clock must be set"))
	}
	if o.Platform.Arch == "" || o.Platform.OS == "" {
		problems = append(problems, errors.New("importer: the platform must name architecture and operating system"))
	}
	l := o.Limits
	if least := min(int64(l.RequestWorkers), int64(l.HostWorkers), int64(l.ImageBytes), int64(l.Parsers), l.ProcessBytes, l.ResultBytes, l.CacheBytes, int64(l.Remembered)); least < 1 {
		problems = append(problems, fmt.Errorf("importer: a limit is %d, all must be positive", least))
	}
	return errors.Join(problems...)
}

package options

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/pflag"
)

// Limits and defaults of a collection. A registry refuses a smaller age: pushes rely on content that they
// found.
const (
	minMinAge = 10 * time.Minute

	DefaultMinAge           = 2 * time.Hour
	DefaultCollectedPercent = 50
	DefaultWait             = time.Hour
)

// GC are the settings of `pruner gc`.
type GC struct {
	// Confirm collects; without it only a dry run is made.
	Confirm bool
	// MinAge is the age below which nothing is collected.
	MinAge time.Duration
	// MinAgeOfRegistry leaves it to the registry's configuration.
	MinAgeOfRegistry bool
	// MaxDeletePercent refuses to delete a greater share of all blobs, or of all repositories.
	MaxDeletePercent int
	// AllowEmptyMetadata goes on although there is no Image.
	AllowEmptyMetadata bool
	// Wait bounds how long one collection is followed.
	Wait   time.Duration
	Output string
	Registry
}

// GCDefaults returns the documented defaults.
func GCDefaults() GC {
	return GC{MinAge: DefaultMinAge, MaxDeletePercent: DefaultCollectedPercent, Wait: DefaultWait, Output: "text"}
}

// AddFlags binds o, whose values become the defaults.
func (o *GC) AddFlags(flags *pflag.FlagSet) {
	flags.BoolVar(&o.Confirm, "confirm", o.Confirm, "delete what the dry run finds; without it nothing is changed anywhere")
	flags.DurationVar(&o.MinAge, "min-age", o.MinAge, "keep blobs and links that are younger, or were relied on more recently")
	flags.IntVar(&o.MaxDeletePercent, "max-delete-percent", o.MaxDeletePercent, "refuse to delete more than this share of all blobs, or of all repositories")
	flags.BoolVar(&o.AllowEmptyMetadata, "allow-empty-metadata", o.AllowEmptyMetadata, "collect although no image exists in the cluster")
	flags.DurationVar(&o.Wait, "wait", o.Wait, "how long to follow one collection, own or another's")
	flags.StringVarP(&o.Output, "output", "o", o.Output, "text, json, yaml or jsonl")
	addMinAgeOfRegistry(flags, &o.MinAgeOfRegistry)
	o.Registry.addFlags(flags)
}

// Validate checks everything that can be checked without a request and completes o. Each error names its
// flag.
func (o *GC) Validate() error {
	switch {
	case o.MinAge < minMinAge:
		return fmt.Errorf("--min-age must be at least %s: pushes rely on content that they found", minMinAge)
	case o.MaxDeletePercent < 1 || o.MaxDeletePercent > 100:
		return errors.New("--max-delete-percent must be between 1 and 100")
	case o.Wait <= 0:
		return errors.New("--wait must be positive")
	case !slices.Contains([]string{"text", "json", "yaml", "jsonl"}, o.Output):
		return fmt.Errorf("--output: %q is none of text, json, yaml, jsonl", o.Output)
	}
	return o.Registry.Validate()
}

package options

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	imageregistryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/pruner/roots"
)

const (
	minReferenceGrace = 2 * time.Minute
	defaultWorkers    = 5

	matchAny   = "any"
	matchKnown = "known"
)

// Options are the settings of `pruner images`.
type Options struct {
	// Confirm carries the plan out; without it nothing is changed anywhere.
	Confirm bool
	// All makes images that were not pushed to this registry candidates, too.
	All bool
	// KeepTagRevisions and KeepYoungerThan say what stays of the history of a tag.
	KeepTagRevisions int
	KeepYoungerThan  time.Duration
	// OverSizeLimit prunes what exceeds the limits of its namespace and is unused, whatever its age.
	OverSizeLimit bool
	// PruneRegistry also collects the garbage of the storage.
	PruneRegistry bool
	Registry
	// MinAgeOfRegistry leaves the age below which nothing is collected to the registry's configuration.
	MinAgeOfRegistry bool
	// IgnoreInvalidRefs goes on although references could not be understood.
	IgnoreInvalidRefs bool
	// NumWorkers is how many changes are made at a time.
	NumWorkers int
	// Namespace limits the run to the streams of one namespace; no Image is deleted then.
	Namespace string
	// Whitelist are RE2 expressions on "namespace/name".
	Whitelist []string
	// MatchHosts is any or known: which hosts in references mean this registry. RegistryHosts are further
	// known ones.
	MatchHosts    string
	RegistryHosts []string
	// IgnoreInactiveReplicaSets gives up rollbacks.
	IgnoreInactiveReplicaSets bool
	// MaxDeletePercent refuses a run that would delete a greater share of all Images.
	MaxDeletePercent int
	Retries          int
	RetryDelay       time.Duration
	// Output is text, json, yaml or jsonl.
	Output      string
	ExplainKept bool
	ChunkSize   int64
	QPS         float32
	Burst       int
	// ConfigMap is the additional configuration, "namespace/name"; empty means none.
	ConfigMap string
	// ExcludeRootKinds are custom kinds whose objects do not protect images, "group" or "resource.group".
	ExcludeRootKinds []string
	// ReferenceGrace protects images taken up shortly before the run.
	ReferenceGrace time.Duration

	unavailable unavailable
	// given tells which flags stood on the command line; nil where there was none.
	given     func(flag string) bool
	whitelist []*regexp.Regexp
}

// Defaults returns the documented defaults.
func Defaults() Options {
	return Options{
		All:              true,
		KeepTagRevisions: 3,
		KeepYoungerThan:  time.Hour,
		NumWorkers:       defaultWorkers,
		MatchHosts:       matchAny,
		MaxDeletePercent: 100,
		RetryDelay:       30 * time.Second,
		Output:           "text",
		ChunkSize:        500,
		QPS:              100,
		Burst:            200,
		ConfigMap:        imageregistryv1.DefaultNamespace + "/" + imageregistryv1.ConfigMapPrunerConfig,
		ReferenceGrace:   5 * time.Minute,
	}
}

// AddFlags binds o, whose values become the defaults.
func (o *Options) AddFlags(flags *pflag.FlagSet) {
	flags.BoolVar(&o.Confirm, "confirm", o.Confirm, "carry the plan out; without it nothing is changed anywhere")
	flags.BoolVar(&o.All, "all", o.All, "include images that were not pushed to this registry")
	flags.IntVar(&o.KeepTagRevisions, "keep-tag-revisions", o.KeepTagRevisions, "keep this many of the newest revisions of each tag")
	flags.DurationVar(&o.KeepYoungerThan, "keep-younger-than", o.KeepYoungerThan, "keep what is younger than this")
	flags.BoolVar(&o.OverSizeLimit, "prune-over-size-limit", o.OverSizeLimit, "prune images that exceed the limits of their namespace and are unused, whatever their age")
	flags.BoolVar(&o.PruneRegistry, "prune-registry", o.PruneRegistry, "also remove repository links and collect the garbage of the storage")
	o.Registry.addFlags(flags)
	addMinAgeOfRegistry(flags, &o.MinAgeOfRegistry)
	flags.BoolVar(&o.IgnoreInvalidRefs, "ignore-invalid-refs", o.IgnoreInvalidRefs, "warn about image references that cannot be understood instead of refusing to run")
	flags.IntVar(&o.NumWorkers, "num-workers", o.NumWorkers, "changes made at a time")
	flags.StringVarP(&o.Namespace, "namespace", "n", o.Namespace, "prune only the image streams of this namespace, and no images")
	flags.StringArrayVar(&o.Whitelist, "whitelist", o.Whitelist, "leave streams alone whose namespace/name matches this regular expression (repeatable)")
	flags.StringVar(&o.MatchHosts, "match-hosts", o.MatchHosts, "which hosts in image references can mean this registry: any, or only the known ones")
	flags.StringArrayVar(&o.RegistryHosts, "registry-host", o.RegistryHosts, "further host that means this registry, for --match-hosts=known (repeatable)")
	flags.BoolVar(&o.IgnoreInactiveReplicaSets, "ignore-inactive-replicasets", o.IgnoreInactiveReplicaSets, "old ReplicaSets of Deployments without replicas do not keep images")
	flags.IntVar(&o.MaxDeletePercent, "max-delete-percent", o.MaxDeletePercent, "refuse to delete more than this share of all images")
	flags.IntVar(&o.Retries, "retries", o.Retries, "attempts after a failed one")
	flags.DurationVar(&o.RetryDelay, "retry-delay", o.RetryDelay, "wait before the first retry; the second waits twice as long, and so on")
	flags.StringVarP(&o.Output, "output", "o", o.Output, "text, json, yaml or jsonl")
	flags.BoolVar(&o.ExplainKept, "explain-kept", o.ExplainKept, "also report what is kept, with the reason")
	flags.Int64Var(&o.ChunkSize, "chunk-size", o.ChunkSize, "page size of lists")
	flags.Float32Var(&o.QPS, "qps", o.QPS, "requests per second to the API server")
	flags.IntVar(&o.Burst, "burst", o.Burst, "requests to the API server in a burst")
	o.AddRootFlags(flags)
	o.unavailable.addFlags(flags)
	o.given = flags.Changed
	flags.DurationVar(&o.ReferenceGrace, "reference-grace", o.ReferenceGrace, "keep images taken up shorter than this before the run")
	_ = flags.MarkHidden("reference-grace")
}

// AddRootFlags binds the part of o that says which custom kinds use images.
func (o *Options) AddRootFlags(flags *pflag.FlagSet) {
	flags.StringVar(&o.ConfigMap, "config-map", o.ConfigMap, "ConfigMap with additional configuration, namespace/name; empty for none")
	flags.StringArrayVar(&o.ExcludeRootKinds, "exclude-root-kind", o.ExcludeRootKinds, "custom kind whose objects do not protect the images that they name: resource.group, or group for all of a group (repeatable)")
}

// Validate checks everything that can be checked without a request and completes o. Each error names its
// flag.
func (o *Options) Validate() error {
	if err := o.unavailable.validate(); err != nil {
		return err
	}
	switch {
	case o.KeepTagRevisions < 0:
		return errors.New("--keep-tag-revisions must not be negative")
	case o.KeepYoungerThan < 0:
		return errors.New("--keep-younger-than must not be negative")
	case o.OverSizeLimit && (o.isGiven("keep-tag-revisions") || o.isGiven("keep-younger-than")):
		return errors.New("--prune-over-size-limit excludes --keep-tag-revisions and --keep-younger-than: it decides by size alone")
	case o.MaxDeletePercent < 1 || o.MaxDeletePercent > 100:
		return errors.New("--max-delete-percent must be between 1 and 100")
	case o.Retries < 0:
		return errors.New("--retries must not be negative")
	case o.RetryDelay < 0:
		return errors.New("--retry-delay must not be negative")
	case o.ChunkSize < 1:
		return errors.New("--chunk-size must be at least 1")
	case o.QPS <= 0 || o.Burst < 1:
		return errors.New("--qps and --burst must be positive")
	case o.ReferenceGrace < minReferenceGrace:
		return fmt.Errorf("--reference-grace must be at least %s", minReferenceGrace)
	case o.MatchHosts != matchAny && o.MatchHosts != matchKnown:
		return fmt.Errorf("--match-hosts: %q is neither any nor known", o.MatchHosts)
	case o.ConfigMap != "" && !isObjectName(o.ConfigMap):
		return fmt.Errorf("--config-map: %q is not of the form namespace/name", o.ConfigMap)
	case !slices.Contains([]string{"text", "json", "yaml", "jsonl"}, o.Output):
		return fmt.Errorf("--output: %q is none of text, json, yaml, jsonl", o.Output)
	}
	if o.NumWorkers < 1 {
		o.NumWorkers = defaultWorkers
	}
	if err := o.Registry.Validate(); err != nil {
		return err
	}
	for _, kind := range o.ExcludeRootKinds {
		if err := roots.ValidateExclusion(kind); err != nil {
			return fmt.Errorf("--exclude-root-kind: %w", err)
		}
	}
	o.whitelist = nil
	for _, text := range o.Whitelist {
		expression, err := regexp.Compile(text)
		if err != nil {
			return fmt.Errorf("--whitelist: %w", err)
		}
		o.whitelist = append(o.whitelist, expression)
	}
	return nil
}

func (o *Options) isGiven(flag string) bool { return o.given != nil && o.given(flag) }

func isObjectName(text string) bool {
	namespace, name, found := strings.Cut(text, "/")
	return found && namespace != "" && name != "" && !strings.Contains(name, "/")
}

// WhitelistExpressions returns the compiled whitelist, after Validate.
func (o *Options) WhitelistExpressions() []*regexp.Regexp { return o.whitelist }

// KnownHostsOnly tells whether references count only under the registry's own names.
func (o *Options) KnownHostsOnly() bool { return o.MatchHosts == matchKnown }

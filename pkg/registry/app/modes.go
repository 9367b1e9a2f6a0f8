package app

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"image.alauda.io/registry/pkg/logging"
	"image.alauda.io/registry/pkg/registry/config"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/spf13/pflag"
)

// Flags. Each works with one dash and with two.
const (
	flagPrune             = "prune"
	flagBlobGrace         = "blob-grace"
	flagRepoGrace         = "repo-grace"
	flagForce             = "force"
	flagExperimental      = "experimental"
	flagRestoreMode       = "restore-mode"
	flagRestoreNamespace  = "restore-namespace"
	flagListRepositories  = "list-repositories"
	flagListBlobs         = "list-blobs"
	flagListManifests     = "list-manifests"
	flagListManifestsFrom = "list-manifests-from"
)

const (
	pruneCheck  = "check"
	pruneDelete = "delete"
)

// modes are what the binary can do in place of serving.
type modes struct {
	prune                string
	blobGrace, repoGrace time.Duration
	force                bool

	experimental                  bool
	restoreMode, restoreNamespace string

	listRepositories, listBlobs, listManifests bool
	listManifestsFrom                          string
}

// output is where a mode writes: results to out, everything else to problems.
type output struct{ out, problems io.Writer }

func (m *modes) register(flags *pflag.FlagSet) {
	flags.SortFlags = false
	flags.StringVar(&m.prune, flagPrune, "", "remove what nobody uses from the storage and end: `check|delete`")
	flags.DurationVar(&m.blobGrace, flagBlobGrace, 2*time.Hour, "with -prune: keep blobs and links that are younger")
	flags.DurationVar(&m.repoGrace, flagRepoGrace, 72*time.Hour, "with -prune: keep repositories without ImageStream this long after their last link")
	flags.BoolVar(&m.force, flagForce, false, "with -prune=delete: also while the registry takes writes, and if more than half of all blobs would go")
	flags.BoolVar(&m.experimental, flagExperimental, false, "allow the flags below")
	flags.StringVar(&m.restoreMode, flagRestoreMode, "", "compare storage and image API and end: `check|check-storage|check-database|recover`")
	flags.StringVar(&m.restoreNamespace, flagRestoreNamespace, "", "with -restore-mode: only this `namespace`")
	flags.BoolVar(&m.listRepositories, flagListRepositories, false, "list the repositories of the storage and end")
	flags.BoolVar(&m.listBlobs, flagListBlobs, false, "list the blobs of the storage and end")
	flags.BoolVar(&m.listManifests, flagListManifests, false, "list the manifests of all repositories and end")
	flags.StringVar(&m.listManifestsFrom, flagListManifestsFrom, "", "list the manifests of one `repository` and end")
}

// normalise gives long flags their second dash: -prune=check is --prune=check. There are
// no flags of one letter but -h. What follows -- is left as it is.
func normalise(args []string) []string {
	normal := make([]string, 0, len(args))
	for i, arg := range args {
		if arg == "--" {
			return append(normal, args[i:]...)
		}
		if len(arg) > 2 && arg[0] == '-' && arg[1] != '-' {
			arg = "-" + arg
		}
		normal = append(normal, arg)
	}
	return normal
}

// mode is the work that the flags ask for; nil to serve.
type mode func(ctx context.Context, c *config.Config, m *modes, to output) error

// choose finds the one mode, or says what does not fit together.
func (m *modes) choose(flags *pflag.FlagSet) (mode, error) {
	var asked []string
	var chosen mode
	for _, candidate := range []struct {
		flag string
		run  mode
	}{
		{flagPrune, runPrune}, {flagRestoreMode, runRestore},
		{flagListRepositories, runList}, {flagListBlobs, runList}, {flagListManifests, runList}, {flagListManifestsFrom, runList},
	} {
		if given(flags, candidate.flag) {
			asked, chosen = append(asked, "-"+candidate.flag), candidate.run
		}
	}
	if len(asked) > 1 {
		return nil, fmt.Errorf("%w: %s cannot be combined", errUsage, strings.Join(asked, " and "))
	}
	if err := m.check(flags, strings.Join(asked, "")); err != nil {
		return nil, err
	}
	return chosen, nil
}

// given tells whether a flag asks for something: -list-blobs=false does not.
func given(flags *pflag.FlagSet, name string) bool {
	flag := flags.Lookup(name)
	return flag.Changed && flag.Value.String() != "false"
}

// check looks at the values, and at flags that would have no effect in the mode.
func (m *modes) check(flags *pflag.FlagSet, asked string) error {
	for flag, of := range map[string]string{
		flagBlobGrace: flagPrune, flagRepoGrace: flagPrune, flagForce: flagPrune, flagRestoreNamespace: flagRestoreMode,
	} {
		if given(flags, flag) && asked != "-"+of {
			return fmt.Errorf("%w: -%s needs -%s", errUsage, flag, of)
		}
	}
	if strings.HasPrefix(asked, "-list-") || asked == "-"+flagRestoreMode {
		if !m.experimental {
			return fmt.Errorf("%w: %s needs -%s", errUsage, asked, flagExperimental)
		}
	}
	switch {
	case asked == "-"+flagPrune && m.prune != pruneCheck && m.prune != pruneDelete:
		return fmt.Errorf("%w: -%s must be %s or %s, not %q", errUsage, flagPrune, pruneCheck, pruneDelete, m.prune)
	case asked == "-"+flagRestoreMode && !validRestoreMode(m.restoreMode):
		return fmt.Errorf("%w: -%s must be check, check-storage, check-database or recover, not %q", errUsage, flagRestoreMode, m.restoreMode)
	case m.blobGrace < 0 || m.repoGrace < 0:
		return fmt.Errorf("%w: a grace period must not be negative", errUsage)
	case asked == "-"+flagListManifestsFrom && m.listManifestsFrom == "":
		return fmt.Errorf("%w: -%s needs a repository", errUsage, flagListManifestsFrom)
	}
	return nil
}

func validRestoreMode(text string) bool {
	switch text {
	case "check", "check-storage", "check-database", "recover":
		return true
	}
	return false
}

// runMode loads the configuration for a mode.
func runMode(ctx context.Context, run mode, m *modes, path string, to output) error {
	c, warnings, err := config.Load(path)
	if err != nil {
		return err
	}
	for _, warning := range warnings {
		fmt.Fprintln(to.problems, "warning:", warning)
	}
	return run(ctx, c, m, to)
}

// modeLog is the log of a mode, whose results are on stdout: warnings only, whatever the
// file says, unless the environment asks for more.
func modeLog(c *config.Config) *logging.Logger {
	log := c.Configuration.Log
	log.Level = "warn"
	if level := os.Getenv("REGISTRY_LOG_LEVEL"); level != "" {
		log.Level = configuration.Loglevel(level)
	}
	return logging.SetupWith(logOptions(log))
}

// Package app is the command line of the node agent.
//
// It reads the settings from the environment that the Pod template sets, builds the agent and runs what
// was asked for: the loop, a single pass, a cleanup, a probe, or a look at the status. Results go to
// standard output, the log to standard error, and the exit code is 0, 1 for a failure and 2 for wrong
// usage. The package contains no behaviour of its own.
package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"k8s.io/utils/clock"

	"image.alauda.io/registry/pkg/logging"
	"image.alauda.io/registry/pkg/nodeca/agent"
	"image.alauda.io/registry/pkg/version"
)

// Exit codes.
const (
	exitOK = iota
	exitError
	exitUsage
)

const description = `node-ca makes the node it runs on trust the registry and find it by its service name.

It writes the CA certificates of the mounted ConfigMap image-registry-certificates into the
directories in which container runtimes look for them, and keeps a block of lines with the
address of the registry's Service in /etc/hosts. It changes only what it owns, never the
configuration of a runtime, and needs no access to the Kubernetes API.

Environment:
  NODE_CA_MODE          sync (default) or cleanup: remove everything the agent owns
  NODE_NAME             name of the node, for the log
  NODE_IPS              addresses of the node; they decide which address families are mapped
  NODE_CA_HOST_ETC      where the node's /etc is mounted (default /host/etc)
  NODE_CA_ROOTS         trust roots instead of detection: auto (default) or a comma list of host paths
  NODE_CA_HOSTS         false: never touch /etc/hosts
  NODE_CA_RESYNC        time between passes, 10s to 10m (default 60s)
  NODE_CA_STRICT        true: not ready while the runtime ignores the files
  NODE_CA_METRICS_ADDR  address of the metrics server (default :9177, empty: none)
  NODE_CA_LOG_LEVEL     info (default) or debug
  NODE_CA_CERTIFICATES_DIR, NODE_CA_CONFIG_DIR, NODE_CA_STATE_DIR
                        mounts of the two ConfigMaps and the directory of status.json

Exit codes: 0 ended on request or done, 1 error (of "check": the agent is not alive, or not ready), 2 wrong usage.`

const examples = `  node-ca status
  node-ca once --dry-run
  NODE_CA_HOST_ETC=/etc node-ca cleanup`

// usageError marks errors that lead to exit code 2.
type usageError struct{ error }

type program struct {
	lookup func(string) (string, bool)
	stdout io.Writer
}

// Run runs the command line and returns the exit code.
func Run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	return run(ctx, args, os.LookupEnv, stdout, stderr)
}

func run(ctx context.Context, args []string, lookup func(string) (string, bool), stdout, stderr io.Writer) int {
	command := (&program{lookup: lookup, stdout: stdout}).command()
	command.SetArgs(args)
	command.SetOut(stdout)
	command.SetErr(stderr)
	err := command.ExecuteContext(ctx)
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "node-ca: %v\nRun 'node-ca --help' for usage.\n", err)
		return exitUsage
	default:
		fmt.Fprintf(stderr, "node-ca: %v\n", err)
		return exitError
	}
}

func (p *program) command() *cobra.Command {
	root := &cobra.Command{
		Use:           "node-ca",
		Short:         "Distributes the registry's CA and service address to a node",
		Long:          description,
		Example:       examples,
		Args:          usageArgs(cobra.NoArgs),
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          p.run,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.CompletionOptions.DisableDefaultCmd = true
	root.AddCommand(
		&cobra.Command{Use: "run", Short: "Keep the node in the wanted state (default)", Args: usageArgs(cobra.NoArgs), RunE: p.run},
		p.onceCommand(),
		&cobra.Command{Use: "cleanup", Short: "Remove everything the agent owns on the node, once", Args: usageArgs(cobra.NoArgs), RunE: p.cleanup},
		&cobra.Command{
			Use: "check liveness|readiness", Short: "Probe the running agent", RunE: p.check,
			Args: usageArgs(cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs)), ValidArgs: []string{"liveness", "readiness"},
		},
		p.statusCommand(),
		&cobra.Command{Use: "version", Short: "Print the version", Args: usageArgs(cobra.NoArgs), Run: func(*cobra.Command, []string) {
			fmt.Fprintln(p.stdout, version.Get())
		}},
	)
	return root
}

func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(command *cobra.Command, args []string) error {
		if err := check(command, args); err != nil {
			return usageError{err}
		}
		return nil
	}
}

// build makes the agent from the environment.
func (p *program) build(change func(*agent.Options)) (*agent.Agent, agent.Options, error) {
	options, err := fromEnvironment(p.lookup)
	if err == nil {
		change(&options)
		err = options.Validate()
	}
	if err != nil {
		return nil, options, usageError{err}
	}
	logger := logging.Setup("node-ca", verbosity(options.LogLevel))
	log := logger.With(zap.String("node", options.NodeName))
	return agent.New(options, clock.RealClock{}, log, agent.NewMetrics()), options, nil
}

func verbosity(level string) int {
	if level == "debug" {
		return 4
	}
	return 2
}

func (p *program) run(command *cobra.Command, _ []string) error {
	// The agent is idle almost always; a small heap matters more than the time of a collection.
	debug.SetGCPercent(20)
	node, _, err := p.build(func(*agent.Options) {})
	if err != nil {
		return err
	}
	return node.Run(command.Context())
}

func (p *program) onceCommand() *cobra.Command {
	dryRun := false
	command := &cobra.Command{
		Use:   "once",
		Short: "Bring the node into the wanted state once and print the status",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(command *cobra.Command, _ []string) error {
			return p.single(command.Context(), func(o *agent.Options) { o.DryRun = dryRun })
		},
	}
	command.Flags().BoolVar(&dryRun, "dry-run", false, "log what would be done and change nothing")
	return command
}

func (p *program) cleanup(command *cobra.Command, _ []string) error {
	return p.single(command.Context(), func(o *agent.Options) { o.Mode = agent.ModeCleanup })
}

func (p *program) single(ctx context.Context, change func(*agent.Options)) error {
	node, options, err := p.build(change)
	if err != nil {
		return err
	}
	status := node.Pass(ctx)
	if err := p.printJSON(status); err != nil {
		return err
	}
	if !status.Ready && !options.DryRun {
		return errors.New("the node is not in the wanted state, see the reasons in the status")
	}
	return nil
}

func (p *program) check(_ *cobra.Command, args []string) error {
	options, err := fromEnvironment(p.lookup)
	if err != nil {
		return usageError{err}
	}
	if args[0] == "liveness" {
		return agent.CheckLiveness(options.StateDir, time.Now())
	}
	return agent.CheckReadiness(options.StateDir)
}

func (p *program) statusCommand() *cobra.Command {
	output := ""
	command := &cobra.Command{
		Use:   "status",
		Short: "Print what the running agent found in its last pass",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			options, err := fromEnvironment(p.lookup)
			if err != nil {
				return usageError{err}
			}
			if output != "" && output != "json" {
				return usageError{fmt.Errorf("output format %q is not json", output)}
			}
			status, err := agent.ReadStatus(options.StateDir)
			if err != nil {
				return err
			}
			if output == "json" {
				return p.printJSON(status)
			}
			return p.printTable(status)
		},
	}
	command.Flags().StringVarP(&output, "output", "o", "", "json, or empty for text")
	return command
}

func (p *program) printJSON(status agent.Status) error {
	encoder := json.NewEncoder(p.stdout)
	encoder.SetIndent("", "  ")
	return encoder.Encode(status)
}

func (p *program) printTable(status agent.Status) error {
	out := tabwriter.NewWriter(p.stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintf(out, "Time\t%s\nMode\t%s\nReady\t%v\n", status.Time.UTC().Format(time.RFC3339), status.Mode, status.Ready)
	fmt.Fprintf(out, "Hosts file\t%v %v\n", status.HostsFile.Present, status.HostsFile.IP)
	for _, root := range status.Roots {
		fmt.Fprintf(out, "Root\t%s\tread by the runtime: %s\n", root.Path, root.Effective)
	}
	for _, host := range status.Hosts {
		fmt.Fprintf(out, "Host\t%s\tin %d roots\tvalid until %s\n", host.Name, len(host.Roots), host.NotAfter.UTC().Format(time.RFC3339))
	}
	for _, reason := range status.Reasons {
		fmt.Fprintf(out, "%s\t%s\n", reason.Severity, reason)
	}
	return out.Flush()
}

// Package cli is the command line of devcluster.
//
// It turns flags and arguments into calls of package cluster and their errors
// into one line, an exit code and, where a daemon is to blame, the end of its
// log. It decides nothing about the cluster itself.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"image.alauda.io/registry/hack/devcluster/internal/cluster"
	"image.alauda.io/registry/hack/devcluster/internal/plan"
)

// Exit codes.
const (
	exitFailed = 1
	exitUsage  = 2
)

// usageError is a wrong command line.
type usageError struct{ error }

// errUnwell says that status was printed and something in it is not well.
var errUnwell = errors.New("not every component is well")

// Run runs one command and returns the exit code.
func Run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRoot(stdout)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintf(stderr, "devcluster: %v\n", err)
	var failure *cluster.Failure
	if errors.As(err, &failure) && failure.Tail != "" {
		fmt.Fprintf(stderr, "\nthe end of %s:\n%s\n", failure.Log, failure.Tail)
	}
	var usage usageError
	if errors.As(err, &usage) || strings.HasPrefix(err.Error(), "unknown command") {
		return exitUsage
	}
	return exitFailed
}

// options are the flags of every command.
type options struct {
	repo   string
	stdout io.Writer
}

func (o *options) layout() (plan.Layout, error) {
	if o.repo != "" {
		repo, err := plan.FindRepo(o.repo)
		return plan.NewLayout(repo), err
	}
	var starts []string
	if dir, err := os.Getwd(); err == nil {
		starts = append(starts, dir)
	}
	if self, err := os.Executable(); err == nil {
		starts = append(starts, self)
	}
	repo, err := plan.FindRepo(starts...)
	return plan.NewLayout(repo), err
}

func (o *options) cluster() (*cluster.Cluster, error) {
	l, err := o.layout()
	if err != nil {
		return nil, err
	}
	return cluster.New(l, o.stdout), nil
}

func newRoot(stdout io.Writer) *cobra.Command {
	o := &options{stdout: stdout}
	root := &cobra.Command{
		Use:   "devcluster",
		Short: "A real Kubernetes on one Linux machine, without Docker",
		Long: `devcluster builds Kubernetes, etcd, containerd and what they need from source and
runs them on this machine as root: a control plane and nodes that are network,
mount and host name namespaces. Everything it makes is below _output/devcluster
of the repository, in namespaces, or has a fixed name; down removes all of it.`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.PersistentFlags().StringVar(&o.repo, "repo", "", "the repository; by default the one around the working folder or this program")
	root.AddCommand(o.up(), o.down(), o.build(), o.status(), o.exec(), o.load(), o.logs(), o.stopNode(), o.startNode(), o.addNode(), o.removeNode(),
		o.restart(), o.stop(), o.start(),
		o.pause("pause", "Let daemons hang: they keep their connections and answer nothing", true),
		o.pause("resume", "Let daemons that hang go on", false),
		o.connect("cut-node", "Pull the network cable of a node; its processes go on", false),
		o.connect("heal-node", "Plug the network cable of a node in again", true),
		o.hold(), o.provision(), o.forward())
	return root
}

// envInt is the default of a flag that a variable of the environment may set.
func envInt(name string) int {
	n, err := strconv.Atoi(os.Getenv(name))
	if err != nil {
		return 0
	}
	return n
}

func (o *options) up() *cobra.Command {
	var up cluster.UpOptions
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Bring the cluster up, or repair it",
		Long: `up installs Debian packages that are missing, builds what is not current, and
starts whatever does not run, until every node is Ready. On a running cluster it
changes nothing. When the processes of an earlier cluster are gone, as after a
restart of the machine, it starts over with an empty cluster.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := up.Validate(); err != nil {
				return usageError{err}
			}
			c, err := o.cluster()
			if err != nil {
				return err
			}
			return c.Up(cmd.Context(), up)
		},
	}
	cmd.Flags().IntVar(&up.Nodes, "nodes", envInt("NODES"), "number of nodes (default 2, or as many as there are; env NODES)")
	cmd.Flags().IntVar(&up.RegistryPort, "registry-port", envInt("DEVCLUSTER_REGISTRY_PORT"),
		"port of 127.0.0.1 that leads to the registry (default 5000; env DEVCLUSTER_REGISTRY_PORT)")
	return cmd
}

func (o *options) down() *cobra.Command {
	return &cobra.Command{
		Use:   "down",
		Short: "Remove the cluster with all its data; built programs stay",
		Args:  cobra.NoArgs,
		RunE:  o.with(func(ctx context.Context, c *cluster.Cluster, _ []string) error { return c.Down(ctx) }),
	}
}

func (o *options) build() *cobra.Command {
	return &cobra.Command{
		Use:   "build",
		Short: "Build the programs of the cluster without starting it",
		Args:  cobra.NoArgs,
		RunE:  o.with(func(ctx context.Context, c *cluster.Cluster, _ []string) error { return c.Build(ctx) }),
	}
}

func (o *options) status() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show every component; the exit code is 1 when one is not well",
		Args:  cobra.NoArgs,
		RunE: o.with(func(ctx context.Context, c *cluster.Cluster, _ []string) error {
			well, err := c.Status(ctx)
			if err == nil && !well {
				return errUnwell
			}
			return err
		}),
	}
}

func (o *options) load() *cobra.Command {
	return &cobra.Command{
		Use:     "load IMAGE_TAR...",
		Short:   "Put the images of tar files (OCI or docker format) onto every node",
		Example: "  devcluster load _output/images/pruner.tar",
		Args:    cobra.MinimumNArgs(1),
		RunE:    o.with(func(ctx context.Context, c *cluster.Cluster, args []string) error { return c.Load(ctx, args) }),
	}
}

func (o *options) exec() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "exec NODE -- COMMAND...",
		Short:   "Run a command inside a node",
		Example: "  devcluster exec node1 -- cat /etc/hosts\n  devcluster exec node2 -- ctr -n k8s.io images list",
		Args:    cobra.MinimumNArgs(2),
		RunE: o.with(func(_ context.Context, c *cluster.Cluster, args []string) error {
			all, err := c.ExecArgs(args[0], commandOf(args[1:]))
			if err != nil {
				return err
			}
			return become(all)
		}),
	}
	// What follows the node belongs to the command.
	cmd.Flags().SetInterspersed(false)
	return cmd
}

// commandOf drops the dashes between a node and its command.
func commandOf(args []string) []string {
	if len(args) > 1 && args[0] == "--" {
		return args[1:]
	}
	return args
}

func (o *options) logs() *cobra.Command {
	var lines int
	var follow bool
	cmd := &cobra.Command{
		Use:   "logs [COMPONENT]",
		Short: "Show the log of a component, or which there are",
		Args:  cobra.MaximumNArgs(1),
		RunE: o.with(func(_ context.Context, c *cluster.Cluster, args []string) error {
			if len(args) == 0 {
				_, err := fmt.Fprintln(o.stdout, strings.Join(c.LogNames(), "\n"))
				return err
			}
			all, err := c.LogArgs(args[0], lines, follow)
			if err != nil {
				return err
			}
			return become(all)
		}),
	}
	cmd.Flags().IntVarP(&lines, "lines", "n", 100, "number of lines from the end")
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on as the log grows")
	return cmd
}

func (o *options) stopNode() *cobra.Command {
	var component string
	cmd := &cobra.Command{
		Use:   "stop-node NODE",
		Short: "Kill every process of a node, as when its power fails",
		Args:  cobra.ExactArgs(1),
		RunE: o.with(func(ctx context.Context, c *cluster.Cluster, args []string) error {
			return c.StopNode(ctx, args[0], component)
		}),
	}
	cmd.Flags().StringVar(&component, "component", "", "kill only this one: containerd, kubelet or kube-proxy")
	return cmd
}

func (o *options) startNode() *cobra.Command {
	return &cobra.Command{
		Use:   "start-node NODE",
		Short: "Start whatever of a node does not run and wait until it is Ready",
		Args:  cobra.ExactArgs(1),
		RunE:  o.with(func(ctx context.Context, c *cluster.Cluster, args []string) error { return c.StartNode(ctx, args[0]) }),
	}
}

func (o *options) addNode() *cobra.Command {
	return &cobra.Command{
		Use:   "add-node [NODE]",
		Short: "Let one more node join the running cluster and wait until it is Ready",
		Long: `add-node makes the next node, or repairs the named one if it is there already.
It gets every image that was loaded onto the others before its kubelet starts.`,
		Example: "  devcluster add-node node3",
		Args:    cobra.MaximumNArgs(1),
		RunE: o.with(func(ctx context.Context, c *cluster.Cluster, args []string) error {
			return c.AddNode(ctx, strings.Join(args, ""))
		}),
	}
}

func (o *options) removeNode() *cobra.Command {
	return &cobra.Command{
		Use:   "remove-node NODE",
		Short: "Move the Pods of the last node elsewhere and remove the node with its data",
		Args:  cobra.ExactArgs(1),
		RunE:  o.with(func(ctx context.Context, c *cluster.Cluster, args []string) error { return c.RemoveNode(ctx, args[0]) }),
	}
}

func (o *options) connect(use, short string, on bool) *cobra.Command {
	return &cobra.Command{
		Use:   use + " NODE",
		Short: short,
		Args:  cobra.ExactArgs(1),
		RunE:  o.with(func(ctx context.Context, c *cluster.Cluster, args []string) error { return c.Connect(ctx, args[0], on) }),
	}
}

// with gives a command the cluster.
func (o *options) with(f func(context.Context, *cluster.Cluster, []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		c, err := o.cluster()
		if err != nil {
			return err
		}
		return f(cmd.Context(), c, args)
	}
}

// become replaces this process, so that signals, the terminal and the exit code
// are those of the command.
func become(args []string) error {
	path, err := exec.LookPath(args[0])
	if err != nil {
		return err
	}
	return fmt.Errorf("%s: %w", args[0], syscall.Exec(path, args, os.Environ()))
}

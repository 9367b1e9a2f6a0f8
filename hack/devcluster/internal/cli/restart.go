package cli

import (
	"context"

	"github.com/spf13/cobra"

	"image.alauda.io/registry/hack/devcluster/internal/cluster"
)

// partsHelp says what restart, stop and start take.
const partsHelp = `A COMPONENT is called as status calls it: a daemon of the machine (etcd,
kube-apiserver, kube-controller-manager, kube-scheduler, coredns, …; "kube-" may
be left out), a daemon of a node (node1-kubelet, node1-containerd,
node1-kube-proxy), or a node (node1) with everything that runs on it. Several are
stopped and started in the order that they need.`

func (o *options) restart() *cobra.Command {
	var kill bool
	cmd := &cobra.Command{
		Use:   "restart COMPONENT...",
		Short: "Stop daemons, or a node with its Pods, and start them again",
		Long: `restart stops daemons and starts them again, or a node as a reboot does: all its
processes end, and its containerd and kubelet bring the Pods back. It ends when
everything works again. What was stopped before is started.

` + partsHelp,
		Example: "  devcluster restart etcd\n  devcluster restart --kill apiserver\n  devcluster restart node2",
		Args:    cobra.MinimumNArgs(1),
		RunE: o.with(func(ctx context.Context, c *cluster.Cluster, args []string) error {
			return c.Restart(ctx, args, kill)
		}),
	}
	killFlag(cmd, &kill)
	return cmd
}

func (o *options) stop() *cobra.Command {
	var kill bool
	cmd := &cobra.Command{
		Use:   "stop COMPONENT...",
		Short: "Stop daemons, or a node with its Pods; nothing starts them by itself",
		Long: `stop ends daemons or nodes and leaves them so until start or up. What does not
run stays as it is.

` + partsHelp,
		Example: "  devcluster stop apiserver",
		Args:    cobra.MinimumNArgs(1),
		RunE: o.with(func(ctx context.Context, c *cluster.Cluster, args []string) error {
			return c.Stop(ctx, args, kill)
		}),
	}
	killFlag(cmd, &kill)
	return cmd
}

func (o *options) start() *cobra.Command {
	return &cobra.Command{
		Use:   "start COMPONENT...",
		Short: "Start stopped daemons or nodes and wait until they work",
		Long: `start starts what of the components does not run and waits until all work.

` + partsHelp,
		Example: "  devcluster start apiserver",
		Args:    cobra.MinimumNArgs(1),
		RunE:    o.with(func(ctx context.Context, c *cluster.Cluster, args []string) error { return c.Start(ctx, args) }),
	}
}

func (o *options) pause(use, short string, hang bool) *cobra.Command {
	return &cobra.Command{
		Use:     use + " COMPONENT...",
		Short:   short,
		Example: "  devcluster " + use + " apiserver",
		Args:    cobra.MinimumNArgs(1),
		RunE: o.with(func(ctx context.Context, c *cluster.Cluster, args []string) error {
			return c.Pause(ctx, args, hang)
		}),
	}
}

func killFlag(cmd *cobra.Command, kill *bool) {
	cmd.Flags().BoolVar(kill, "kill", false, "kill daemons at once instead of letting them end by themselves")
}

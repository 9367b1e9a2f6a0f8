package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"

	"github.com/spf13/cobra"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"image.alauda.io/registry/hack/devcluster/internal/forward"
	"image.alauda.io/registry/hack/devcluster/internal/plan"
	"image.alauda.io/registry/hack/devcluster/internal/provision"
	"image.alauda.io/registry/hack/devcluster/internal/render"
	"image.alauda.io/registry/hack/devcluster/internal/sandbox"
)

// client talks to the cluster as its administrator.
func client(l plan.Layout) (kubernetes.Interface, error) {
	config, err := clientcmd.BuildConfigFromFlags("", l.Kubeconfig())
	if err != nil {
		return nil, fmt.Errorf("administrator's kubeconfig: %w", err)
	}
	return kubernetes.NewForConfig(config)
}

func (o *options) hold() *cobra.Command {
	return &cobra.Command{
		Use:    "hold NODE",
		Short:  "Hold the namespaces of a node; started by up inside them",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := o.layout()
			if err != nil {
				return err
			}
			n, err := plan.ParseNode(args[0])
			if err != nil {
				return usageError{err}
			}
			hosts, err := render.Hosts(l, n)
			if err != nil {
				return err
			}
			return sandbox.Hold(cmd.Context(), l, n, hosts)
		},
	}
}

func (o *options) provision() *cobra.Command {
	return &cobra.Command{
		Use:    "provision",
		Short:  "Provision volumes for the StorageClass " + plan.StorageClass + "; started by up",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := o.layout()
			if err != nil {
				return err
			}
			api, err := client(l)
			if err != nil {
				return err
			}
			controller, err := provision.New(api, l.Volumes())
			if err != nil {
				return err
			}
			return controller.Run(cmd.Context())
		},
	}
}

func (o *options) forward() *cobra.Command {
	service := forward.Service{Namespace: "image-registry-system", Name: "image-registry", Port: plan.RegistryPort}
	port := plan.RegistryPort
	cmd := &cobra.Command{
		Use:    "forward",
		Short:  "Pass connections to this machine on to the registry; started by up",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if port < 1 || port > 65535 {
				return usageError{errors.New("--port: a port is 1 to 65535")}
			}
			l, err := o.layout()
			if err != nil {
				return err
			}
			return serveForward(cmd.Context(), l, service, port)
		},
	}
	cmd.Flags().IntVar(&port, "port", port, "port of 127.0.0.1 to listen on")
	return cmd
}

func serveForward(ctx context.Context, l plan.Layout, service forward.Service, port int) error {
	api, err := client(l)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return err
	}
	return forward.New(api, service).Serve(ctx, listener)
}

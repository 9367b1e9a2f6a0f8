package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"golang.org/x/sync/errgroup"

	"image.alauda.io/registry/hack/devcluster/internal/plan"
	"image.alauda.io/registry/hack/devcluster/internal/sandbox"
)

// controlDaemons run on the machine itself, in the order of the list of status.
var controlDaemons = []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "coredns", "provision", "forward"}

// component is one line of status.
type component struct {
	name  string
	check func(context.Context) error
}

// Status prints every component with its health and says whether all are well.
func (c *Cluster) Status(ctx context.Context) (bool, error) {
	nodes, err := c.nodes()
	if err != nil {
		return false, err
	}
	want, _ := c.load()
	components := c.components(want, nodes)
	health := make([]string, len(components))
	var wait sync.WaitGroup
	for i, item := range components {
		wait.Go(func() { health[i] = c.health(ctx, item) })
	}
	wait.Wait()
	table := tabwriter.NewWriter(c.out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "COMPONENT\tPID\tUP\tHEALTH")
	well := true
	for i, item := range components {
		pid, up := "-", "-"
		if record, alive := c.daemons.Living(item.name); alive {
			pid, up = fmt.Sprint(record.PID), time.Since(record.Since).Round(time.Second).String()
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", item.name, pid, up, health[i])
		well = well && health[i] == "ok"
	}
	return well, table.Flush()
}

func (c *Cluster) components(want record, nodes []plan.Node) []component {
	probes := c.probes(want)
	var list []component
	for _, name := range controlDaemons {
		list = append(list, component{name, probes[name]})
	}
	for _, n := range nodes {
		list = append(list,
			component{n.Daemon(holder), nil},
			component{n.Daemon(runtime), func(ctx context.Context) error {
				record, _ := c.daemons.Living(n.Daemon(holder))
				return containerdAnswers(record.PID)(ctx)
			}},
			component{n.Daemon(kubelet), func(ctx context.Context) error {
				if err := kubeletAnswers(n)(ctx); err != nil {
					return err
				}
				object, err := c.nodeObject(ctx, n)
				if err != nil {
					return err
				}
				return ready(object, time.Time{})
			}},
			component{n.Daemon(proxy), proxyAnswers(n)},
		)
	}
	return list
}

func (c *Cluster) health(ctx context.Context, item component) string {
	if _, alive := c.daemons.Living(item.name); !alive {
		return "dead: see " + c.daemons.Log(item.name)
	}
	if item.check == nil {
		return "ok"
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := item.check(ctx); err != nil {
		return "ill: " + strings.ReplaceAll(err.Error(), "\n", " ")
	}
	return "ok"
}

// Load puts the images of tar files onto every running node.
func (c *Cluster) Load(ctx context.Context, paths []string) error {
	return c.locked(ctx, func() error {
		nodes, err := c.nodes()
		if err != nil {
			return err
		}
		group, ctx := errgroup.WithContext(ctx)
		for _, n := range nodes {
			target, err := c.target(n)
			if err != nil {
				return err
			}
			group.Go(func() error {
				for _, path := range paths {
					loaded, err := target.Load(ctx, path)
					if err != nil {
						return err
					}
					if loaded {
						c.say("%s: loaded %s", n.Name(), filepath.Base(path))
					} else {
						c.say("%s: has %s", n.Name(), filepath.Base(path))
					}
				}
				return nil
			})
		}
		return group.Wait()
	})
}

// ExecArgs is the command line that runs args inside a node.
func (c *Cluster) ExecArgs(node string, args []string) ([]string, error) {
	n, err := c.node(node)
	if err != nil {
		return nil, err
	}
	record, alive := c.daemons.Living(n.Daemon(holder))
	if !alive {
		return nil, fmt.Errorf("%s is stopped: start it with start-node or up", node)
	}
	path := c.layout.Bin() + string(os.PathListSeparator) + os.Getenv("PATH")
	return sandbox.EnterArgs(record.PID, append([]string{"env", "PATH=" + path}, args...)...), nil
}

// LogNames lists the daemons that have logs.
func (c *Cluster) LogNames() []string {
	files, _ := filepath.Glob(filepath.Join(c.layout.Logs(), "*.log"))
	names := make([]string, 0, len(files))
	for _, f := range files {
		names = append(names, strings.TrimSuffix(filepath.Base(f), ".log"))
	}
	return names
}

// LogArgs is the command line that shows the log of a daemon.
func (c *Cluster) LogArgs(daemon string, lines int, follow bool) ([]string, error) {
	if !slices.Contains(c.LogNames(), daemon) {
		return nil, fmt.Errorf("there is no log of %q: there are %s", daemon, strings.Join(c.LogNames(), ", "))
	}
	tail, err := exec.LookPath("tail")
	if err != nil {
		return nil, errors.New("tail is not installed")
	}
	args := []string{tail, "-n", fmt.Sprint(lines)}
	if follow {
		args = append(args, "-F")
	}
	return append(args, c.daemons.Log(daemon)), nil
}

// Package cluster brings the development cluster up, repairs it, takes it down
// and says how it is.
//
// It puts the other packages in order: what has to run before what, what is
// waited for, and what a failure is blamed on. In: options of a command. Out:
// progress lines, a running cluster, or a Failure that names the component and
// its log. Commands that change the cluster take a lock, so two of them never
// work at the same time.
package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"image.alauda.io/registry/hack/devcluster/internal/plan"
	"image.alauda.io/registry/hack/devcluster/internal/proc"
	"image.alauda.io/registry/hack/devcluster/internal/supervise"
)

// Cluster is the development cluster of one repository.
type Cluster struct {
	layout  plan.Layout
	daemons supervise.Supervisor
	out     io.Writer
	began   time.Time
}

// New returns the cluster of a layout; progress goes to out.
func New(l plan.Layout, out io.Writer) *Cluster {
	return &Cluster{
		layout:  l,
		daemons: supervise.Supervisor{Run: l.Run(), Logs: l.Logs(), Table: proc.System()},
		out:     out,
		began:   time.Now(),
	}
}

// Failure is an error that the log of a daemon explains.
type Failure struct {
	Daemon string
	Log    string
	Tail   string
	Err    error
}

func (f *Failure) Error() string { return fmt.Sprintf("%s: %v", f.Daemon, f.Err) }

func (f *Failure) Unwrap() error { return f.Err }

func (c *Cluster) fail(daemon string, err error) error {
	return &Failure{Daemon: daemon, Log: c.daemons.Log(daemon), Tail: c.daemons.Tail(daemon, 15), Err: err}
}

// say prints a progress line with the time since the command began.
func (c *Cluster) say(format string, args ...any) {
	fmt.Fprintf(c.out, "[%6.1fs] %s\n", time.Since(c.began).Seconds(), fmt.Sprintf(format, args...))
}

// record is what is remembered of a cluster between commands.
type record struct {
	Nodes        int `json:"nodes"`
	RegistryPort int `json:"registryPort"`
}

func (c *Cluster) load() (record, bool) {
	var r record
	b, err := os.ReadFile(c.layout.Record())
	if err != nil || json.Unmarshal(b, &r) != nil || r.Nodes < 1 || r.Nodes > plan.MaxNodes {
		return record{}, false
	}
	return r, true
}

func (c *Cluster) save(r record) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return writeFile(c.layout.Record(), append(b, '\n'), 0o644)
}

// nodes lists the nodes of the recorded cluster.
func (c *Cluster) nodes() ([]plan.Node, error) {
	r, ok := c.load()
	if !ok {
		return nil, errors.New("there is no development cluster: start one with up")
	}
	return plan.Nodes(r.Nodes)
}

// node finds a node of the recorded cluster by its name.
func (c *Cluster) node(name string) (plan.Node, error) {
	n, err := plan.ParseNode(name)
	if err != nil {
		return n, err
	}
	all, err := c.nodes()
	if err != nil {
		return n, err
	}
	if n.Index > len(all) {
		return n, fmt.Errorf("there is no %s: the cluster has %d nodes", name, len(all))
	}
	return n, nil
}

// locked runs f while no other command changes the cluster.
func (c *Cluster) locked(ctx context.Context, f func() error) error {
	if os.Geteuid() != 0 {
		return errors.New("must run as root: the cluster needs namespaces, mounts and cgroups")
	}
	path := c.layout.Lock()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	lock, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	defer lock.Close()
	for said := false; ; said = true {
		err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return f()
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("lock: %w", err)
		}
		if !said {
			c.say("waiting for another devcluster command to end")
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// client talks to the cluster as its administrator.
func (c *Cluster) client() (*kubernetes.Clientset, error) {
	config, err := clientcmd.BuildConfigFromFlags("", c.layout.Kubeconfig())
	if err != nil {
		return nil, fmt.Errorf("administrator's kubeconfig: %w", err)
	}
	config.QPS, config.Burst, config.Timeout = 50, 100, 10*time.Second
	return kubernetes.NewForConfig(config)
}

// await polls a check until it passes. It gives up at once when the daemon has
// ended, and blames the daemon otherwise too.
func (c *Cluster) await(ctx context.Context, daemon string, timeout time.Duration, check func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		if _, alive := c.daemons.Living(daemon); !alive {
			return c.fail(daemon, errors.New("it ended"))
		}
		select {
		case <-ctx.Done():
			return c.fail(daemon, fmt.Errorf("not ready after %s: %w", timeout, err))
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// ensure starts a daemon with the given inputs unless it runs with them.
func (c *Cluster) ensure(spec supervise.Spec) error {
	spec.Env = []string{"PATH=" + c.layout.Bin() + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/", "LANG=C.UTF-8"}
	_, dead := c.daemons.Load(spec.Name)
	_, alive := c.daemons.Living(spec.Name)
	started, err := c.daemons.Ensure(spec)
	if err != nil {
		return c.fail(spec.Name, err)
	}
	switch {
	case started && alive:
		c.say("%s started again: its configuration changed", spec.Name)
	case started && dead:
		c.say("%s started again: it had ended", spec.Name)
	}
	return nil
}

// writeFile replaces a file in one step and makes its folder.
func writeFile(path string, content []byte, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	tmp := path + ".new"
	if err := os.WriteFile(tmp, content, mode); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

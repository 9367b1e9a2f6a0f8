// Package host prepares the machine for the cluster and takes everything away
// again: packages, kernel settings, ports, the bridge, network namespaces,
// routes and cgroups.
//
// Every change can be repeated, and everything has a fixed name (package plan),
// so that Remove needs no records. It runs the tools of iproute2 and apt and
// writes below /sys/fs/cgroup; it starts no daemon.
package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// requirement is something that a Debian package brings.
type requirement struct {
	pack    string
	present func() bool
}

func command(name string) func() bool {
	return func() bool { _, err := exec.LookPath(name); return err == nil }
}

func requirements() []requirement {
	return []requirement{
		{"iproute2", command("ip")},
		{"nftables", command("nft")},
		{"util-linux", command("nsenter")},
		{"util-linux", command("unshare")},
		{"gcc", command("gcc")},
		{"libc6-dev", func() bool { _, err := os.Stat("/usr/include/stdlib.h"); return err == nil }},
		{"pkg-config", command("pkg-config")},
		{"libseccomp-dev", func() bool { return exec.Command("pkg-config", "--exists", "libseccomp").Run() == nil }},
	}
}

// Missing lists the Debian packages that the machine lacks.
func Missing() []string {
	var missing []string
	seen := map[string]bool{}
	for _, r := range requirements() {
		if !seen[r.pack] && !r.present() {
			missing, seen[r.pack] = append(missing, r.pack), true
		}
	}
	return missing
}

// Install installs packages with apt.
func Install(ctx context.Context, packages []string) error {
	list := strings.Join(packages, " ")
	if !command("apt-get")() {
		return fmt.Errorf("the machine lacks %s and has no apt-get: install what these Debian packages hold", list)
	}
	for _, args := range [][]string{{"update", "-q"}, append([]string{"install", "-q", "-y", "--no-install-recommends"}, packages...)} {
		cmd := exec.CommandContext(ctx, "apt-get", args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("apt-get %s: %w: %s", strings.Join(args, " "), err, lastLine(string(out)))
		}
	}
	return nil
}

// CheckPort fails with the number of a port that someone else listens on.
func CheckPort(address string, port int) error {
	l, err := net.Listen("tcp", net.JoinHostPort(address, strconv.Itoa(port)))
	if err != nil {
		return fmt.Errorf("port %d is in use on this machine: %w", port, errors.Unwrap(err))
	}
	return l.Close()
}

// limits are raised when the machine has less; a node's containerd, kubelet and
// Pods all watch files.
var limits = map[string]int{
	"/proc/sys/fs/inotify/max_user_instances": 1024,
	"/proc/sys/fs/inotify/max_user_watches":   262144,
}

// RaiseLimits raises kernel limits that two nodes would exhaust and says which.
func RaiseLimits() ([]string, error) {
	var raised []string
	for path, want := range limits {
		b, err := os.ReadFile(path)
		if err != nil {
			return raised, fmt.Errorf("kernel limit: %w", err)
		}
		if have, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil && have >= want {
			continue
		}
		if err := os.WriteFile(path, []byte(strconv.Itoa(want)), 0o644); err != nil {
			return raised, fmt.Errorf("raise kernel limit: %w", err)
		}
		raised = append(raised, path)
	}
	return raised, nil
}

// LoadModules asks for the kernel modules that may not be built in. A failure
// is no error: what is built in cannot be loaded, and what is really missing
// shows when it is used.
func LoadModules(ctx context.Context) {
	for _, m := range []string{"overlay", "bridge", "veth", "nf_tables"} {
		_ = exec.CommandContext(ctx, "modprobe", "-q", m).Run()
	}
}

// run runs a tool and puts its last words into the error.
func run(ctx context.Context, name string, args ...string) error {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, lastLine(string(out)))
	}
	return nil
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

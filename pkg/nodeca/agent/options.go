// Package agent runs the node agent: it reads the inputs, brings the node into the wanted state, and
// says how the node is.
//
// One Pass reads both volumes, finds the trust roots, writes the CA files and the block in /etc/hosts,
// and returns a Status; it works on a directory tree and a clock and nothing else, so it runs the same
// in tests, in `node-ca once` and in the loop. Run repeats it: at start, when inputs or written files
// change, and on a timer. The status is kept in a file for the probes and published as metrics.
//
// What the agent decides here is when something may be removed and how often a contested file is
// repaired; how things are written is the business of hostfiles and etchosts. It has no API access and
// starts no other program. Stopping it removes nothing.
package agent

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// Mode is what the agent is there for.
type Mode string

// Modes.
const (
	ModeSync    Mode = "sync"
	ModeCleanup Mode = "cleanup"
)

// Options of the agent; the environment variables of the Pod map to them one to one.
type Options struct {
	Mode     Mode
	NodeName string
	// NodeIPs are the node's addresses, comma-separated; empty means both families.
	NodeIPs string
	// HostEtc is where the node's /etc is mounted.
	HostEtc string
	// Roots replaces detection if not empty: absolute host paths.
	Roots []string
	// ManageHosts is false to leave /etc/hosts alone.
	ManageHosts bool
	// Resync is the time between passes when nothing happens, 10s to 10m.
	Resync time.Duration
	// Strict makes a node whose runtime ignores the files not ready.
	Strict bool
	// MetricsAddr is the address of the metrics server, empty for none.
	MetricsAddr string
	// LogLevel is "info" or "debug".
	LogLevel        string
	CertificatesDir string
	ConfigDir       string
	// StateDir holds status.json.
	StateDir string
	// DryRun reports what a pass would do without doing it.
	DryRun bool
}

// Defaults are the settings of the Pod template.
func Defaults() Options {
	return Options{
		Mode:            ModeSync,
		HostEtc:         "/host/etc",
		ManageHosts:     true,
		Resync:          time.Minute,
		MetricsAddr:     ":9177",
		LogLevel:        "info",
		CertificatesDir: "/var/run/configmaps/certificates",
		ConfigDir:       "/var/run/configmaps/node-ca-config",
		StateDir:        "/run/node-ca",
	}
}

// Validate names every setting that is wrong.
func (o Options) Validate() error {
	var problems []error
	if o.Mode != ModeSync && o.Mode != ModeCleanup {
		problems = append(problems, fmt.Errorf("mode %q is neither sync nor cleanup", o.Mode))
	}
	if o.Resync < 10*time.Second || o.Resync > 10*time.Minute {
		problems = append(problems, fmt.Errorf("resync %s is not between 10s and 10m", o.Resync))
	}
	if o.LogLevel != "info" && o.LogLevel != "debug" {
		problems = append(problems, fmt.Errorf("log level %q is neither info nor debug", o.LogLevel))
	}
	if o.MetricsAddr != "" {
		if _, _, err := net.SplitHostPort(o.MetricsAddr); err != nil {
			problems = append(problems, fmt.Errorf("metrics address %q: %w", o.MetricsAddr, err))
		}
	}
	if o.HostEtc == "" {
		problems = append(problems, errors.New("the directory of the node's /etc is empty"))
	}
	for _, root := range o.Roots {
		if !strings.HasPrefix(root, "/etc/") {
			problems = append(problems, fmt.Errorf("trust root %q is not below /etc", root))
		}
	}
	return errors.Join(problems...)
}

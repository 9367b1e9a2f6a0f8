// Package version holds the version that was stamped into a binary when it was built.
//
// Every binary of the project reports the same three values: in its `version` subcommand, in the
// user agent of its requests and in its build-info metric. A binary built without stamping (go run,
// go test) reports "v0.0.0-dev" and what the Go toolchain recorded about the checkout.
package version

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// Set with -ldflags "-X image.alauda.io/registry/pkg/version.<name>=<value>".
var (
	version = "v0.0.0-dev"
	commit  = ""
)

// Info describes one build.
type Info struct {
	// Version is a semantic version with a leading "v".
	Version string `json:"version"`
	// Commit is the full hash of the commit, empty when it is not known.
	Commit string `json:"commit,omitempty"`
	// GoVersion is the version of the Go toolchain, for example "go1.26.0".
	GoVersion string `json:"goVersion"`
	// Platform is GOOS/GOARCH.
	Platform string `json:"platform"`
}

// Get returns the build of the running binary.
func Get() Info {
	info := Info{
		Version:   version,
		Commit:    commit,
		GoVersion: runtime.Version(),
		Platform:  runtime.GOOS + "/" + runtime.GOARCH,
	}
	if info.Commit == "" {
		info.Commit = recordedCommit()
	}
	return info
}

// String returns the one line that the `version` subcommands print.
func (i Info) String() string {
	if i.Commit == "" {
		return fmt.Sprintf("%s %s %s", i.Version, i.GoVersion, i.Platform)
	}
	return fmt.Sprintf("%s %s %s %s", i.Version, i.Commit, i.GoVersion, i.Platform)
}

// UserAgent returns "<component>/<version>", the form in which a binary introduces itself to servers.
func UserAgent(component string) string {
	return component + "/" + version
}

func recordedCommit() string {
	build, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, setting := range build.Settings {
		if setting.Key == "vcs.revision" {
			return setting.Value
		}
	}
	return ""
}

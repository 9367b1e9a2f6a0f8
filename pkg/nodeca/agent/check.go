package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"image.alauda.io/registry/pkg/nodeca/reasons"
)

const (
	// maxStatusAge is the age of the status from which the agent counts as stuck.
	maxStatusAge = 5 * time.Minute
	// advisoryEvery is how often a ready Pod with warnings fails one readiness probe, so that the
	// kubelet puts the warnings into an Event: every ten minutes at one probe a minute. One failure in a
	// row is below the failure threshold.
	advisoryEvery = 10
	probeFile     = "readiness-probes"
)

// CheckLiveness returns an error when the agent has not finished a pass for too long.
func CheckLiveness(stateDir string, now time.Time) error {
	status, err := ReadStatus(stateDir)
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New("no pass has finished yet")
	}
	if err != nil {
		return err
	}
	if age := now.Sub(status.Time); age > maxStatusAge {
		return fmt.Errorf("the last pass finished %s ago", age.Round(time.Second))
	}
	return nil
}

// CheckReadiness returns an error with the reasons when the node is not as wanted, and for one probe in
// ten also when it is but there are warnings.
func CheckReadiness(stateDir string) error {
	probe := countProbe(stateDir)
	status, err := ReadStatus(stateDir)
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New("the first pass has not finished yet")
	}
	if err != nil {
		return err
	}
	if !status.Ready {
		return errors.New(sentence(status, "the node is not in the wanted state"))
	}
	if probe%advisoryEvery == 0 && (status.worst(reasons.Warning) || status.worst(reasons.Error)) {
		return errors.New(sentence(status, ""))
	}
	return nil
}

// sentence joins the reasons that matter, the worst first.
func sentence(status Status, otherwise string) string {
	var parts []string
	for _, reason := range status.Reasons {
		if reason.Severity != reasons.Info {
			parts = append(parts, reason.String())
		}
	}
	if len(parts) == 0 {
		return otherwise
	}
	return strings.Join(parts, "; ")
}

// countProbe numbers the readiness probes of this Pod from 1. Each probe is a process of its own, so
// the number is kept in the state directory; without one there are no advisory failures.
func countProbe(stateDir string) int {
	data, _ := os.ReadFile(filepath.Join(stateDir, probeFile))
	count, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil || count < 0 {
		count = 0
	}
	count = count%advisoryEvery + 1
	if err := writeState(stateDir, probeFile, []byte(strconv.Itoa(count))); err != nil {
		return 1
	}
	return count
}

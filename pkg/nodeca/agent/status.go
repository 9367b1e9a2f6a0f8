package agent

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"image.alauda.io/registry/pkg/nodeca/reasons"
)

// statusFile is the name of the status in the state directory.
const statusFile = "status.json"

// Status is the state of the node after a pass.
type Status struct {
	Time       time.Time        `json:"time"`
	Mode       Mode             `json:"mode"`
	Node       string           `json:"node"`
	ConfigHash string           `json:"configHash"`
	Ready      bool             `json:"ready"`
	Reasons    []reasons.Reason `json:"reasons"`
	Roots      []RootStatus     `json:"roots"`
	Hosts      []HostStatus     `json:"hosts"`
	HostsFile  HostsFileStatus  `json:"hostsFile"`
}

// RootStatus is one active trust root; Effective is "true", "false" or "unknown".
type RootStatus struct {
	Path      string `json:"path"`
	Kind      string `json:"kind"`
	Effective string `json:"effective"`
}

// HostStatus is one trusted host with the roots that serve it and the earliest end of its CAs.
type HostStatus struct {
	Name     string    `json:"name"`
	Roots    []string  `json:"roots"`
	NotAfter time.Time `json:"notAfter"`
}

// HostsFileStatus is the block in /etc/hosts.
type HostsFileStatus struct {
	Present bool     `json:"present"`
	IP      []string `json:"ip"`
}

// has reports whether a reason is present.
func (s Status) has(words ...string) bool {
	for _, reason := range s.Reasons {
		for _, word := range words {
			if reason.Reason == word {
				return true
			}
		}
	}
	return false
}

// worst reports whether any reason has the severity.
func (s Status) worst(severity reasons.Severity) bool {
	for _, reason := range s.Reasons {
		if reason.Severity == severity {
			return true
		}
	}
	return false
}

// WriteStatus replaces the status file at once.
func WriteStatus(dir string, status Status) error {
	data, err := json.Marshal(status)
	if err != nil {
		return fmt.Errorf("status: %w", err)
	}
	return writeState(dir, statusFile, append(data, '\n'))
}

// ReadStatus reads what the running agent wrote after its last pass.
func ReadStatus(dir string) (Status, error) {
	var status Status
	data, err := os.ReadFile(filepath.Join(dir, statusFile))
	if err != nil {
		return status, err
	}
	if err := json.Unmarshal(data, &status); err != nil {
		return status, fmt.Errorf("%s: %w", filepath.Join(dir, statusFile), err)
	}
	return status, nil
}

func writeState(dir, name string, data []byte) error {
	temp, err := os.CreateTemp(dir, "."+name+"-*")
	if err != nil {
		return err
	}
	_, err = temp.Write(data)
	if closeErr := temp.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(temp.Name(), filepath.Join(dir, name))
	}
	if err != nil {
		os.Remove(temp.Name())
	}
	return err
}

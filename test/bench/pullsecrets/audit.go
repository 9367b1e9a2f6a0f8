package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// auditPolicy writes one line for each request of the operator that is not a read.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  verbs: [get, list, watch]
- level: None
  resources: [{group: coordination.k8s.io}, {group: "", resources: [events]}, {group: authentication.k8s.io}, {group: authorization.k8s.io}]
- level: Metadata
  users: ["system:serviceaccount:image-registry-system:cluster-image-registry-operator"]
- level: None
`

// agent is how the pull secrets introduce themselves.
const agent = "cluster-image-registry-operator/pull-secrets"

// audit reads the log of the API server as it grows.
type audit struct {
	path   string
	offset int64
	// counts are the successful requests of the pull secrets, by verb and resource; refused are the others.
	counts  map[string]int
	refused int
	// times are those of the tokens.
	times []time.Time
}

func newAudit(dir string) (*audit, []string, error) {
	policy := filepath.Join(dir, "audit-policy.yaml")
	if err := os.WriteFile(policy, []byte(auditPolicy), 0o600); err != nil {
		return nil, nil, err
	}
	a := &audit{path: filepath.Join(dir, "audit.log")}
	a.reset()
	return a, []string{"--audit-policy-file=" + policy, "--audit-log-path=" + a.path, "--audit-log-maxsize=0", "--audit-log-mode=blocking"}, nil
}

// reset forgets what was counted.
func (a *audit) reset() { a.counts, a.refused, a.times = map[string]int{}, 0, nil }

type entry struct {
	Verb      string `json:"verb"`
	UserAgent string `json:"userAgent"`
	ObjectRef struct {
		Resource    string `json:"resource"`
		Subresource string `json:"subresource"`
	} `json:"objectRef"`
	ResponseStatus struct {
		Code int `json:"code"`
	} `json:"responseStatus"`
	Stamp time.Time `json:"stageTimestamp"`
}

// read takes in what was written since the last call.
func (a *audit) read() error {
	file, err := os.Open(a.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := file.Seek(a.offset, io.SeekStart); err != nil {
		return err
	}
	lines := bufio.NewReader(file)
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil // an unfinished line is read next time
		}
		if err != nil {
			return err
		}
		a.offset += int64(len(line))
		var e entry
		if err := json.Unmarshal(line, &e); err != nil {
			return fmt.Errorf("audit log: %w", err)
		}
		a.count(e)
	}
}

func (a *audit) count(e entry) {
	if !strings.HasPrefix(e.UserAgent, agent) {
		return
	}
	if e.ResponseStatus.Code >= 300 {
		a.refused++
		return
	}
	what := e.Verb + " " + e.ObjectRef.Resource
	if e.ObjectRef.Subresource != "" {
		what += "/" + e.ObjectRef.Subresource
	}
	a.counts[what]++
	if what == tokens {
		a.times = append(a.times, e.Stamp)
	}
}

// The requests of the pull secrets.
const (
	tokens     = "create serviceaccounts/token"
	refreshed  = "patch secrets"
	references = "patch serviceaccounts"
)

func (a *audit) total() (sum int) {
	for _, count := range a.counts {
		sum += count
	}
	return sum
}

// busiest is the largest number of tokens within a window.
func (a *audit) busiest(window time.Duration) (most int) {
	first := 0
	for last, at := range a.times {
		for at.Sub(a.times[first]) >= window {
			first++
		}
		most = max(most, last-first+1)
	}
	return most
}

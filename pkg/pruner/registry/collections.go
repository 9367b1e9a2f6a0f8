package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
)

const collectionsPath = "/admin/gc"

// Errors about collections that callers tell apart.
var (
	// ErrNoCollections: this registry cannot collect.
	ErrNoCollections = errors.New("the registry knows no /admin/gc: it is too old, or not this project's registry")
	// ErrReadOnly: a registry in read-only mode makes dry runs only.
	ErrReadOnly = errors.New("the registry is read-only: only a dry run is possible")
	// ErrGone: a newer collection has replaced the report.
	ErrGone = errors.New("the report was replaced by that of a newer collection")
)

// RunningError says that a collection runs already.
type RunningError struct {
	// ID of the running collection.
	ID string
}

// Error implements error.
func (e *RunningError) Error() string { return fmt.Sprintf("collection %s is running", e.ID) }

// States of a collection.
const (
	StateRunning   = "Running"
	StateSucceeded = "Succeeded"
	StateFailed    = "Failed"
)

// PhaseMetadata is the phase in which guards of the registry refuse.
const PhaseMetadata = "metadata"

// Task says what to collect.
type Task struct {
	DryRun bool `json:"dryRun"`
	// MinAge of what may go; empty leaves it to the registry.
	MinAge             string `json:"minAge,omitempty"`
	AllowEmptyMetadata bool   `json:"allowEmptyMetadata"`
}

// Candidate is a blob that would go or went.
type Candidate struct {
	Digest string `json:"digest"`
	Size   int64  `json:"size"`
}

// Collection is the registry's report about one collection.
type Collection struct {
	ID      string `json:"id"`
	State   string `json:"state"`
	Phase   string `json:"phase"`
	Message string `json:"message,omitempty"`
	DryRun  bool   `json:"dryRun"`
	MinAge  string `json:"minAge"`

	TotalBlobs        int64 `json:"totalBlobs"`
	TotalBytes        int64 `json:"totalBytes"`
	TotalRepositories int64 `json:"totalRepositories"`

	// Candidates are the first thousand by digest.
	Candidates     []Candidate `json:"candidates,omitempty"`
	CandidateCount int64       `json:"candidateCount"`
	CandidateBytes int64       `json:"candidateBytes"`
	Links          int64       `json:"links"`
	Repositories   int64       `json:"repositories"`
	// RepositoryNames are the first thousand by name.
	RepositoryNames []string `json:"repositoryNames,omitempty"`

	DeletedBlobs        int64 `json:"deletedBlobs"`
	DeletedLinks        int64 `json:"deletedLinks"`
	DeletedRepositories int64 `json:"deletedRepositories"`
	FreedBytes          int64 `json:"freedBytes"`
	// Refused counts candidates that something saved in the last moment.
	Refused int64    `json:"refused"`
	Errors  []string `json:"errors,omitempty"`
}

// StartCollection asks for a collection: a *RunningError while one runs.
func (c *Client) StartCollection(ctx context.Context, task Task) (Collection, error) {
	body, err := json.Marshal(task)
	if err != nil {
		return Collection{}, fmt.Errorf("collection: %w", err)
	}
	r := request{method: http.MethodPost, path: collectionsPath, body: string(body)}
	got, err := c.do(ctx, r)
	if err != nil {
		return Collection{}, c.tokenStops(err)
	}
	switch got.status {
	case http.StatusAccepted:
		return parseCollection(r, got)
	case http.StatusNotFound:
		return Collection{}, ErrNoCollections
	case http.StatusConflict:
		return Collection{}, runningCollection(r, got)
	}
	refused := refusal(r, got)
	if refused.ReadOnly() {
		return Collection{}, ErrReadOnly
	}
	return Collection{}, refused
}

// Collection reads a report: ErrGone when it is not the last one any more.
func (c *Client) Collection(ctx context.Context, id string) (Collection, error) {
	r := request{method: http.MethodGet, path: collectionsPath + "/" + url.PathEscape(id)}
	got, err := c.do(ctx, r)
	if err != nil {
		return Collection{}, c.tokenStops(err)
	}
	switch got.status {
	case http.StatusOK:
		return parseCollection(r, got)
	case http.StatusNotFound:
		return Collection{}, ErrGone
	}
	return Collection{}, refusal(r, got)
}

func parseCollection(r request, got *answer) (Collection, error) {
	var report Collection
	if err := json.Unmarshal(got.body, &report); err != nil {
		return report, fmt.Errorf("%s %s: the answer is not a report of a collection", r.method, r.path)
	}
	switch report.State {
	case StateRunning, StateSucceeded, StateFailed:
	default:
		return report, fmt.Errorf("%s %s: the report has no known state", r.method, r.path)
	}
	if !isID(report.ID) {
		return report, fmt.Errorf("%s %s: the report has no id", r.method, r.path)
	}
	report.clean()
	return report, nil
}

// clean makes everything that is printed one short line.
func (c *Collection) clean() {
	c.Phase, c.Message, c.MinAge = printable(c.Phase), printable(c.Message), printable(c.MinAge)
	for i, name := range c.RepositoryNames {
		c.RepositoryNames[i] = printable(name)
	}
	for i, text := range c.Errors {
		c.Errors[i] = printable(text)
	}
	for i, candidate := range c.Candidates {
		c.Candidates[i].Digest = printable(candidate.Digest)
	}
}

// runningCollection finds the id of the collection that runs.
func runningCollection(r request, got *answer) error {
	var body struct {
		Errors []struct {
			Detail struct {
				ID string `json:"id"`
			} `json:"detail"`
		} `json:"errors"`
	}
	if json.Unmarshal(got.body, &body) != nil || len(body.Errors) == 0 || !isID(body.Errors[0].Detail.ID) {
		return refusal(r, got)
	}
	return &RunningError{ID: body.Errors[0].Detail.ID}
}

// isID accepts what can stand in a path and in a line.
func isID(id string) bool {
	if id == "" || len(id) > 128 {
		return false
	}
	for _, r := range id {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-') {
			return false
		}
	}
	return true
}

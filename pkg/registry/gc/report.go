package gc

import (
	"slices"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// State of a collection.
type State string

// The states.
const (
	StateRunning   State = "Running"
	StateSucceeded State = "Succeeded"
	StateFailed    State = "Failed"
)

// Phase is what a collection does.
type Phase string

// The phases. Blobs are counted before the repositories are read, because a link is
// dangling when its blob was not counted.
const (
	PhaseMetadata     Phase = "metadata"
	PhaseBlobs        Phase = "blobs"
	PhaseRepositories Phase = "repositories"
	PhaseVerify       Phase = "verify"
	PhaseDelete       Phase = "delete"
)

const (
	maxListed = 1000
	maxErrors = 100
	// maxErrorText keeps a report within the annotation that it is stored in.
	maxErrorText = 512
)

// Duration is a duration whose JSON is Go's text, for example "24h0m0s".
type Duration time.Duration

// MarshalJSON implements json.Marshaler.
func (d Duration) MarshalJSON() ([]byte, error) {
	return strconv.AppendQuote(nil, time.Duration(d).String()), nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (d *Duration) UnmarshalJSON(raw []byte) error {
	text, err := strconv.Unquote(string(raw))
	if err != nil {
		return err
	}
	parsed, err := time.ParseDuration(text)
	*d = Duration(parsed)
	return err
}

// Candidate is a blob that would go or went.
type Candidate struct {
	Digest string `json:"digest"`
	// Size in bytes.
	Size int64 `json:"size"`
}

// Report is the state of one collection, in the form in which clients get it.
type Report struct {
	ID      string `json:"id"`
	State   State  `json:"state"`
	Phase   Phase  `json:"phase"`
	Message string `json:"message"`
	DryRun  bool   `json:"dryRun"`
	// MinAge of blobs and links.
	MinAge         Duration     `json:"minAge"`
	StartTime      metav1.Time  `json:"startTime"`
	CompletionTime *metav1.Time `json:"completionTime,omitempty"`

	TotalBlobs        int64 `json:"totalBlobs"`
	TotalBytes        int64 `json:"totalBytes"`
	TotalRepositories int64 `json:"totalRepositories"`

	// Candidates are the first thousand by digest.
	Candidates     []Candidate `json:"candidates"`
	CandidateCount int64       `json:"candidateCount"`
	CandidateBytes int64       `json:"candidateBytes"`
	// Links and Repositories are numbers of what would go or went.
	Links        int64 `json:"links"`
	Repositories int64 `json:"repositories"`
	// RepositoryNames are the first thousand by name.
	RepositoryNames []string `json:"repositoryNames"`

	DeletedBlobs        int64 `json:"deletedBlobs"`
	DeletedLinks        int64 `json:"deletedLinks"`
	DeletedRepositories int64 `json:"deletedRepositories"`
	FreedBytes          int64 `json:"freedBytes"`
	// Refused counts candidates that a marker or a young age saved in the last moment.
	Refused int64 `json:"refused"`
	// Errors are the first hundred deletions that failed.
	Errors []string `json:"errors"`
}

// Clone returns a copy that shares nothing.
func (r Report) Clone() Report {
	r.Candidates = slices.Clone(r.Candidates)
	r.RepositoryNames = slices.Clone(r.RepositoryNames)
	r.Errors = slices.Clone(r.Errors)
	if r.CompletionTime != nil {
		at := *r.CompletionTime
		r.CompletionTime = &at
	}
	return r
}

// Numbers returns the report without its lists, for frequent updates.
func (r Report) Numbers() Report {
	r = r.Clone()
	r.Candidates, r.RepositoryNames, r.Errors = []Candidate{}, []string{}, []string{}
	return r
}

func (r *Report) addError(err error) {
	if len(r.Errors) >= maxErrors {
		return
	}
	text := err.Error()
	if len(text) > maxErrorText {
		text = text[:maxErrorText] + "…"
	}
	r.Errors = append(r.Errors, text)
}

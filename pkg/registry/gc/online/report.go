package online

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/google/uuid"
)

// State of a collection.
type State string

// The states.
const (
	Running   State = "Running"
	Succeeded State = "Succeeded"
	Failed    State = "Failed"
)

// The phases, in their order.
const (
	PhaseMetadata     = "metadata"
	PhaseRepositories = "repositories"
	PhaseBlobs        = "blobs"
	PhaseVerify       = "verify"
	PhaseDelete       = "delete"
)

const (
	// maxAnnotation is the size of a stored report, maxReport that of its JSON.
	maxAnnotation = 128 << 10
	maxReport     = 1 << 20

	maxCandidates = 1000
	maxNames      = 1000
	maxErrors     = 100
	maxText       = 500
)

// Candidate is content that nothing uses.
type Candidate struct {
	Digest string `json:"digest"`
	Size   int64  `json:"size"`
}

// Findings are what a collection found and did. Lists are cut, numbers are not.
type Findings struct {
	Phase string `json:"phase"`

	TotalBlobs        int64 `json:"totalBlobs"`
	TotalBytes        int64 `json:"totalBytes"`
	TotalRepositories int64 `json:"totalRepositories"`

	Candidates      []Candidate `json:"candidates"`
	CandidateCount  int64       `json:"candidateCount"`
	CandidateBytes  int64       `json:"candidateBytes"`
	Links           int64       `json:"links"`
	Repositories    int64       `json:"repositories"`
	RepositoryNames []string    `json:"repositoryNames"`

	DeletedBlobs        int64 `json:"deletedBlobs"`
	DeletedLinks        int64 `json:"deletedLinks"`
	DeletedRepositories int64 `json:"deletedRepositories"`
	FreedBytes          int64 `json:"freedBytes"`
	Refused             int64 `json:"refused"`

	Errors []string `json:"errors"`
}

// Report is what is told about a collection.
type Report struct {
	ID             string     `json:"id"`
	State          State      `json:"state"`
	Message        string     `json:"message"`
	DryRun         bool       `json:"dryRun"`
	MinAge         string     `json:"minAge"`
	StartTime      time.Time  `json:"startTime"`
	CompletionTime *time.Time `json:"completionTime,omitempty"`
	Findings
}

// withoutLists keeps the numbers.
func (f Findings) withoutLists() Findings {
	f.Candidates, f.RepositoryNames, f.Errors = []Candidate{}, []string{}, []string{}
	return f
}

// limited returns findings whose lists and texts have their greatest lengths.
func (f Findings) limited() Findings {
	f.Candidates = append([]Candidate{}, f.Candidates[:min(len(f.Candidates), maxCandidates)]...)
	f.RepositoryNames = append([]string{}, f.RepositoryNames[:min(len(f.RepositoryNames), maxNames)]...)
	texts := f.Errors[:min(len(f.Errors), maxErrors)]
	f.Errors = make([]string, 0, len(texts))
	for _, text := range texts {
		f.Errors = append(f.Errors, cut(text))
	}
	return f
}

func cut(text string) string {
	if len(text) > maxText {
		text = text[:maxText]
	}
	return strings.ToValidUTF8(text, "?")
}

// encode makes the text of the annotation. Lists that do not fit are made shorter.
func encode(report Report) (string, error) {
	report.Findings = report.limited()
	report.Message = cut(report.Message)
	for {
		text, err := pack(report)
		if err == nil && len(text) <= maxAnnotation {
			return text, nil
		}
		if err != nil && !errors.Is(err, errTooLong) {
			return "", err
		}
		if !report.shorten() {
			return "", fmt.Errorf("report of collection %s: %w", report.ID, errTooLong)
		}
	}
}

var errTooLong = errors.New("longer than an annotation may be")

// shorten takes away half of the longest list.
func (r *Report) shorten() bool {
	switch longest := max(len(r.Candidates), len(r.RepositoryNames), len(r.Errors)); longest {
	case 0:
		return false
	case len(r.RepositoryNames):
		r.RepositoryNames = r.RepositoryNames[:longest/2]
	case len(r.Candidates):
		r.Candidates = r.Candidates[:longest/2]
	default:
		r.Errors = r.Errors[:longest/2]
	}
	return true
}

func pack(report Report) (string, error) {
	raw, err := json.Marshal(report)
	if err != nil {
		return "", fmt.Errorf("report of collection %s: %w", report.ID, err)
	}
	if len(raw) > maxReport {
		return "", errTooLong
	}
	var packed bytes.Buffer
	writer := gzip.NewWriter(&packed)
	if _, err := writer.Write(raw); err != nil {
		return "", fmt.Errorf("report of collection %s: %w", report.ID, err)
	}
	if err := writer.Close(); err != nil {
		return "", fmt.Errorf("report of collection %s: %w", report.ID, err)
	}
	return base64.StdEncoding.EncodeToString(packed.Bytes()), nil
}

// decode reads the text of an annotation. Whoever may write the Lease may have written
// it, so its size is bounded at each step. All errors are *DamagedError.
func decode(text string) (Report, error) {
	damaged := func(reason string) (Report, error) { return Report{}, &DamagedError{Reason: reason} }
	if len(text) > maxAnnotation {
		return damaged("the annotation is too long")
	}
	packed, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return damaged("the annotation is not base64")
	}
	reader, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return damaged("the annotation is not compressed with gzip")
	}
	raw, err := io.ReadAll(io.LimitReader(reader, maxReport+1))
	if err != nil {
		return damaged("the annotation ends early or is not compressed with gzip")
	}
	if len(raw) > maxReport {
		return damaged("it is larger than a report can be")
	}
	var report Report
	if err := json.Unmarshal(raw, &report); err != nil {
		return damaged("it is not the JSON of a report")
	}
	if _, err := uuid.Parse(report.ID); err != nil {
		return damaged("it has no id")
	}
	switch report.State {
	case Running, Succeeded, Failed:
	default:
		return damaged("its state is unknown")
	}
	report.Findings = report.limited()
	return report, nil
}

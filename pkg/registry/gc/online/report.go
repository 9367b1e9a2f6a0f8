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

	"image.alauda.io/registry/pkg/registry/gc"

	"github.com/google/uuid"
)

const (
	// maxAnnotation is the size of a stored report, maxReport that of its JSON.
	maxAnnotation = 128 << 10
	maxReport     = 1 << 20

	maxCandidates = 1000
	maxNames      = 1000
	maxErrors     = 100
	maxText       = 520
)

// limited returns a report whose lists and texts have their greatest lengths.
func limited(report gc.Report) gc.Report {
	report = report.Clone()
	report.Message = cut(report.Message)
	report.Candidates = append([]gc.Candidate{}, report.Candidates[:min(len(report.Candidates), maxCandidates)]...)
	report.RepositoryNames = append([]string{}, report.RepositoryNames[:min(len(report.RepositoryNames), maxNames)]...)
	report.Errors = append([]string{}, report.Errors[:min(len(report.Errors), maxErrors)]...)
	for i, text := range report.Errors {
		report.Errors[i] = cut(text)
	}
	return report
}

func cut(text string) string {
	if len(text) > maxText {
		text = text[:maxText]
	}
	return strings.ToValidUTF8(text, "?")
}

// encode makes the text of the annotation. Lists that do not fit are made shorter.
func encode(report gc.Report) (string, error) {
	report = limited(report)
	for {
		text, err := pack(report)
		if err == nil && len(text) <= maxAnnotation {
			return text, nil
		}
		if err != nil && !errors.Is(err, errTooLong) {
			return "", err
		}
		if !shorten(&report) {
			return "", fmt.Errorf("report of collection %s: %w", report.ID, errTooLong)
		}
	}
}

var errTooLong = errors.New("longer than an annotation may be")

// shorten takes away half of the longest list.
func shorten(r *gc.Report) bool {
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

func pack(report gc.Report) (string, error) {
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
func decode(text string) (gc.Report, error) {
	damaged := func(reason string) (gc.Report, error) { return gc.Report{}, &DamagedError{Reason: reason} }
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
	var report gc.Report
	if err := json.Unmarshal(raw, &report); err != nil {
		return damaged("it is not the JSON of a report")
	}
	if _, err := uuid.Parse(report.ID); err != nil {
		return damaged("it has no id")
	}
	switch report.State {
	case gc.StateRunning, gc.StateSucceeded, gc.StateFailed:
	default:
		return damaged("its state is unknown")
	}
	return limited(report), nil
}

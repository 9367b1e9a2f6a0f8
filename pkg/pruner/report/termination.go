package report

import (
	"encoding/json"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// maxTermination is what Kubernetes keeps of a termination message.
	maxTermination = 4096
	maxErrors      = 5
	maxErrorLength = 400
)

// termination is what the operator reads from a finished container.
type termination struct {
	StartTime      metav1.Time `json:"startTime"`
	CompletionTime metav1.Time `json:"completionTime"`
	// Result is Succeeded or Failed.
	Result string `json:"result"`
	Summary
	Images            int      `json:"images"`
	ImageStreams      int      `json:"imageStreams"`
	InvalidReferences int      `json:"invalidReferences"`
	Errors            []string `json:"errors,omitempty"`
}

// Termination renders the termination message: at most 4096 bytes of JSON with the fields of the summary
// and the first errors. failure is the error that ended the run, if any.
func (r *Report) Termination(failure error) ([]byte, error) {
	message := termination{
		StartTime: r.StartTime, CompletionTime: r.CompletionTime, Result: "Succeeded", Summary: r.Summary,
		Images: r.Snapshot.Images, ImageStreams: r.Snapshot.ImageStreams, InvalidReferences: len(r.InvalidReferences),
	}
	errors := r.errors
	if failure != nil {
		message.Result = "Failed"
		errors = append([]string{failure.Error()}, errors...)
	}
	for _, text := range errors[:min(len(errors), maxErrors)] {
		message.Errors = append(message.Errors, shorten(text, maxErrorLength))
	}
	for {
		text, err := json.Marshal(message)
		if err != nil {
			return nil, fmt.Errorf("encode termination message: %w", err)
		}
		if len(text) <= maxTermination || len(message.Errors) == 0 {
			return text, nil
		}
		message.Errors = message.Errors[:len(message.Errors)-1]
	}
}

// shorten cuts at a character.
func shorten(text string, limit int) string {
	for i := range text {
		if i > limit {
			return text[:i] + "…"
		}
	}
	return text
}

// Package preflight finds out whether the registry will be able to work with an object store, before the
// registry is told to.
//
// In comes a Request: the environment and the files that the Pods of the registry would get. A child process
// of this very program (package check) works with them as the registry does, because a process reads its
// certificate authorities once. Out comes a Verdict; the Prober keeps it, asks again by itself, and calls
// back when it changes.
//
// The child leaves one JSON line, a Result. Everything that is taken from it is cleaned of credentials. The
// package decides nothing about conditions or rollouts, and never touches what the registry stores.
package preflight

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// Steps of a check, in their order.
const (
	StepConfigure = "configuration"
	StepOpen      = "open"
	StepWrite     = "write"
	StepRead      = "read"
	StepRange     = "range read"
	StepList      = "list"
	StepMultipart = "multipart"
	StepDelete    = "delete"
)

// Result is what a check found.
type Result struct {
	// OK says that every step succeeded. All other fields are about the step that did not.
	OK   bool   `json:"ok"`
	Step string `json:"step,omitempty"`
	// Reason is a reason of the conditions, empty for a fault that may pass by itself.
	Reason string `json:"reason,omitempty"`
	// Code is the provider's own, if it has one, Text its words.
	Code string `json:"code,omitempty"`
	Text string `json:"text,omitempty"`
}

// Transient says that the fault may pass by itself.
func (r Result) Transient() bool { return !r.OK && r.Reason == "" }

// Sentence tells what went wrong, in the provider's words.
func (r Result) Sentence() string {
	words := r.Text
	if r.Code != "" && !strings.HasPrefix(words, r.Code) {
		words = r.Code + ": " + words
	}
	return fmt.Sprintf("step %q: %s", r.Step, strings.TrimSuffix(words, ": "))
}

// Request is what the Pods of the registry would get of a storage.
type Request struct {
	// Env are the variables, with the values of Secrets filled in.
	Env []corev1.EnvVar
	// Files are what is mounted, by absolute path.
	Files map[string][]byte
	// Secrets are texts that may not appear anywhere.
	Secrets []string
	// Ambient passes on what the platform gives this process to prove its identity.
	Ambient bool
	// Key is the same for the same request. It tells nothing of its content to who does not know the salt.
	Key string
}

// Seal sets the key of the request. The salt has to be secret and to stay the same.
func (r *Request) Seal(salt string) {
	mac := hmac.New(sha256.New, []byte(salt))
	for _, variable := range r.Env {
		fmt.Fprintf(mac, "%d:%s%d:%s", len(variable.Name), variable.Name, len(variable.Value), variable.Value)
	}
	paths := make([]string, 0, len(r.Files))
	for path := range r.Files {
		paths = append(paths, path)
	}
	slices.Sort(paths)
	for _, path := range paths {
		fmt.Fprintf(mac, "%d:%s%d:%s", len(path), path, len(r.Files[path]), r.Files[path])
	}
	r.Key = "sha256:" + hex.EncodeToString(mac.Sum(nil)[:16])
}

// shortSecret is the length below which a text is no secret: to cut every "a" out of a message hides nothing.
const shortSecret = 4

// maxText bounds what a provider may put into a condition.
const maxText = 512

// ports are those of this end of a connection: each attempt has another one, and messages shall be stable.
var ports = regexp.MustCompile(`\b(read|write) (tcp|udp) \S+->`)

// clean removes secrets from a result of this request, and what changes from one check to the next.
func (r Request) clean(result Result) Result {
	for _, text := range []*string{&result.Step, &result.Reason, &result.Code, &result.Text} {
		for _, secret := range r.Secrets {
			if len(secret) >= shortSecret {
				*text = strings.ReplaceAll(*text, secret, "***")
			}
		}
	}
	result.Text = ports.ReplaceAllString(strings.Join(strings.Fields(result.Text), " "), "$1 $2 ")
	result.Text = strings.ToValidUTF8(result.Text, "?")
	if len(result.Text) > maxText {
		result.Text = strings.ToValidUTF8(result.Text[:maxText], "") + "…"
	}
	return result
}

// Package ociconformance runs the conformance program of the OCI distribution specification against a
// registry.
//
// In: where the registry is, the authority that signed its certificate, a login and two repositories that
// this login may push to, pull from and delete in. The program itself comes from
// _output/bin/conformance, which make builds from the version in hack/tools/go.mod, or from the file that
// OCI_CONFORMANCE names. Out: how many checks it made, and each that failed, with what it said.
//
// It has no opinion of its own: which checks there are and what they want is the program's business.
// Sparse images stay switched off, because an image whose layers are missing is refused on purpose.
package ociconformance

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

// Profiles of the program: what the specification says, and what its next version will say in addition
// (tags as parameters, cancelled uploads, digest headers).
const (
	Stable      = "1.1"
	Development = "dev"
)

// Target is a registry under test.
type Target struct {
	// Host is host:port.
	Host string
	// CA is the certificate of its authority in PEM. Without one the registry is asked over plain HTTP.
	CA []byte
	// Username and Password log in; empty for a registry that serves everybody.
	Username, Password string
	// Repositories are two names; blobs are mounted from the first into the second.
	Repositories [2]string
}

// Results of one run.
type Results struct {
	Passed, Skipped int
	// Failed are the checks that failed, each with the program's reason.
	Failed []string
}

// Run makes all checks of a profile.
func Run(t testing.TB, target Target, profile string) Results {
	t.Helper()
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	directory := t.TempDir()
	command := exec.CommandContext(t.Context(), program)
	command.Dir = directory
	command.Env = append(target.environment(t, directory), "OCI_VERSION="+profile, "OCI_RESULTS_DIR="+directory)
	var output bytes.Buffer
	command.Stdout, command.Stderr = &output, &output
	runError := command.Run()
	var exit *exec.ExitError
	if runError != nil && !errors.As(runError, &exit) {
		t.Fatalf("%s: %v", program, runError)
	}
	results, err := read(filepath.Join(directory, "junit.xml"))
	if err != nil {
		t.Fatalf("%s left no results: %v\n%s", program, err, output.Bytes())
	}
	if runError != nil && len(results.Failed) == 0 {
		t.Fatalf("%s: %v\n%s", program, runError, output.Bytes())
	}
	return results
}

// environment is everything that the program learns; nothing of the caller's own environment reaches it.
func (target Target) environment(t testing.TB, directory string) []string {
	t.Helper()
	environment := []string{
		"HOME=" + directory, "OCI_REGISTRY=" + target.Host, "OCI_USERNAME=" + target.Username, "OCI_PASSWORD=" + target.Password,
		"OCI_REPO1=" + target.Repositories[0], "OCI_REPO2=" + target.Repositories[1], "OCI_DATA_SPARSE=false",
	}
	if len(target.CA) == 0 {
		return append(environment, "OCI_TLS=disabled")
	}
	file := filepath.Join(directory, "ca.crt")
	if err := os.WriteFile(file, target.CA, 0o600); err != nil {
		t.Fatal(err)
	}
	return append(environment, "OCI_TLS=enabled", "SSL_CERT_FILE="+file, "SSL_CERT_DIR="+directory)
}

// binary finds the program.
func binary() (string, error) {
	if file := os.Getenv("OCI_CONFORMANCE"); file != "" {
		return file, nil
	}
	_, source, _, _ := runtime.Caller(0)
	file := filepath.Join(filepath.Dir(source), "..", "..", "_output", "bin", "conformance")
	if _, err := os.Stat(file); err != nil {
		return "", fmt.Errorf("the conformance program is missing: run `make test-conformance`, or set OCI_CONFORMANCE to its file: %w", err)
	}
	return file, nil
}

// read takes the counts out of the program's JUnit file.
func read(file string) (Results, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return Results{}, err
	}
	return parse(raw)
}

func parse(raw []byte) (Results, error) {
	var suites struct {
		Cases []struct {
			Name   string `xml:"name,attr"`
			Status string `xml:"status,attr"`
			Reason string `xml:"system-out"`
		} `xml:"testsuite>testcase"`
	}
	if err := xml.Unmarshal(raw, &suites); err != nil {
		return Results{}, fmt.Errorf("results of the conformance program: %w", err)
	}
	var results Results
	for _, entry := range suites.Cases {
		switch entry.Status {
		case "passed":
			results.Passed++
		case "skipped":
			results.Skipped++
		default:
			results.Failed = append(results.Failed, fmt.Sprintf("%s: %s: %s", entry.Name, entry.Status, entry.Reason))
		}
	}
	return results, nil
}

package preflight

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	// maxOutput bounds what is read of the child.
	maxOutput = 64 << 10
	// grace is what the child has beyond its deadline, to clean up and to report.
	grace = 10 * time.Second
	// childMemory keeps the child's garbage from counting against the memory of the operator.
	childMemory = "128MiB"
)

// mounts are the variables whose values name files, and are led to where the files are for the child.
var mounts = map[string]bool{"AWS_SHARED_CREDENTIALS_FILE": true, "REGISTRY_STORAGE_GCS_KEYFILE": true, "SSL_CERT_DIR": true}

// mountRoot is above every file of a request.
const mountRoot = "/var/run/"

// ambient are the beginnings of the variables by which platforms give a Pod its identity.
var ambient = []string{"AWS_", "AZURE_", "GOOGLE_", "IDENTITY_", "MSI_"}

// Child runs checks in a process of its own.
type Child struct {
	// Command is the program with its first arguments.
	Command []string
	// TempDir is where the files of a request lie while it runs; empty is the system's.
	TempDir string
	// Environ is the environment of this process.
	Environ func() []string
}

// Check runs one check and returns what it found. Without an answer of the child there is an error.
func (c Child) Check(ctx context.Context, request Request, listOnly bool, deadline time.Duration) (Result, error) {
	dir, err := os.MkdirTemp(c.TempDir, "storage-check-")
	if err != nil {
		return Result{}, fmt.Errorf("files of the storage check: %w", err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // the next start of the Pod has a new one
	for path, content := range request.Files {
		if err := writeFile(filepath.Join(dir, filepath.FromSlash(path)), content); err != nil {
			return Result{}, fmt.Errorf("files of the storage check: %w", err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, deadline+grace)
	defer cancel()
	arguments := append(append([]string{}, c.Command[1:]...), "--timeout="+deadline.String())
	if listOnly {
		arguments = append(arguments, "--list-only")
	}
	command := exec.CommandContext(ctx, c.Command[0], arguments...)
	command.Env = c.environment(request, dir)
	command.Dir = dir
	command.WaitDelay = grace
	var out limited
	command.Stdout = &out // what drivers log may hold anything, so nobody reads it
	runErr := command.Run()
	result, err := parse(out.Bytes())
	if err != nil {
		return Result{}, fmt.Errorf("storage check: no answer from the process: %w", errors.Join(runErr, err))
	}
	result.Text = strings.ReplaceAll(result.Text, dir, "") // another one each time, and nothing to anybody
	return request.clean(result), nil
}

func writeFile(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return os.WriteFile(path, content, 0o600)
}

// environment is that of the Pod, with the mounts below dir, and nothing else of this process.
func (c Child) environment(request Request, dir string) []string {
	own := map[string]string{}
	var env []string
	for _, entry := range c.Environ() {
		name, value, _ := strings.Cut(entry, "=")
		own[name] = value
		for _, prefix := range ambient {
			if request.Ambient && strings.HasPrefix(name, prefix) {
				env = append(env, entry)
			}
		}
	}
	env = append(env, "PATH="+own["PATH"], "HOME="+dir, "TMPDIR="+dir, "GOMEMLIMIT="+childMemory)
	for _, variable := range request.Env {
		value := strings.ReplaceAll(variable.Value, "$(KUBERNETES_SERVICE_HOST)", own["KUBERNETES_SERVICE_HOST"])
		if mounts[variable.Name] {
			value = strings.ReplaceAll(value, mountRoot, dir+mountRoot)
		}
		env = append(env, variable.Name+"="+value)
	}
	return env
}

// parse takes the last line.
func parse(output []byte) (Result, error) {
	lines := bytes.Split(bytes.TrimSpace(output), []byte("\n"))
	var result Result
	decoder := json.NewDecoder(bytes.NewReader(lines[len(lines)-1]))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&result); err != nil {
		return Result{}, errors.New("its output is no result")
	}
	if !result.OK && (result.Step == "" || result.Text == "") {
		return Result{}, errors.New("its result names no step")
	}
	return result, nil
}

// limited keeps the beginning of what is written.
type limited struct{ bytes.Buffer }

func (l *limited) Write(p []byte) (int, error) {
	if room := maxOutput - l.Len(); room > 0 {
		l.Buffer.Write(p[:min(len(p), room)])
	}
	return len(p), nil
}

//go:build component

package datapath

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"image.alauda.io/registry/test/imageapi"
)

// patience is how long a client tries until it gets an answer. A replica is back within
// seconds, but what a killed collection had announced is respected for two minutes.
const patience = 4 * time.Minute

// replica is a registry in a process that can be killed and started again.
type replica struct {
	host, config, log string

	mu      sync.Mutex
	process *exec.Cmd
	// life counts the processes.
	life int
}

// replicas writes the configurations of replicas that share storage and secret. Unlike
// others of these tests they have the smallest age that is safe while pushes are served.
func (e *environment) replicas(t *testing.T, n int) (list []*replica) {
	t.Helper()
	kubeconfig, err := e.CP.WriteKubeconfig("random", imageapi.ServiceAccountConfig(e.CP, account))
	must(t, err)
	for i := range n {
		host := freeAddress(t)
		r := &replica{host: host, config: filepath.Join(t.TempDir(), "config.yml"), log: filepath.Join(t.ArtifactDir(), fmt.Sprintf("replica%d.log", i))}
		must(t, os.WriteFile(r.config, fmt.Appendf(nil, `version: 0.1
storage:
  filesystem: {rootdirectory: %q}
  delete: {enabled: true}
  maintenance: {uploadpurging: {enabled: true, age: 1h, interval: 1s}}
http: {addr: %q, draintimeout: 5s, secret: of both replicas}
log: {accesslog: {disabled: true}}
alauda:
  kubeconfig: %q
  server: {addr: %q}
  http: {shutdowndelay: 0s}
  gc: {minage: 10m, verifydelay: 200ms}
`, e.storage, host, kubeconfig, imageapi.InternalHost), 0o600))
		t.Cleanup(func() { _ = r.kill() })
		list = append(list, r)
	}
	return list
}

// start runs the process and waits until it is ready.
func (r *replica) start(ctx context.Context) error {
	output, err := os.OpenFile(r.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer output.Close() // the process has its own
	command := exec.Command(os.Args[0], "-test.run=^TestRegistryProcess$")
	command.Env = append(os.Environ(), processVariable+"="+r.config)
	command.Stdout, command.Stderr = output, output
	if err := command.Start(); err != nil {
		return err
	}
	r.mu.Lock()
	r.process = command
	r.life++
	r.mu.Unlock()
	var last error
	err = wait.PollUntilContextTimeout(ctx, 20*time.Millisecond, patience, true, func(context.Context) (bool, error) {
		answer, err := http.Get("http://" + r.host + "/readyz")
		if last = err; err != nil {
			return false, nil
		}
		last = fmt.Errorf("status %s", answer.Status)
		return answer.StatusCode == http.StatusOK, answer.Body.Close()
	})
	if err != nil {
		return fmt.Errorf("replica %s is not ready: %w: %w", r.host, err, last)
	}
	return nil
}

// kill ends the process without a word.
func (r *replica) kill() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.process == nil {
		return nil
	}
	process := r.process
	r.process = nil
	if err := process.Process.Kill(); err != nil {
		return err
	}
	_ = process.Wait() // "signal: killed"
	return nil
}

func (r *replica) lives() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.life
}

// message is a request to any replica.
type message struct {
	method, path, mediaType string
	header                  http.Header
	body                    []byte
}

type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) String() string { return fmt.Sprintf("status %d: %.300s", a.status, a.body) }

// caller sends requests as one of several clients.
type caller struct {
	replicas []*replica
	token    string
	random   *rand.Rand
	tally    *tally
}

// once sends a request to one replica.
func (c *caller) once(ctx context.Context, r *replica, m message) (answer, error) {
	request, err := http.NewRequestWithContext(ctx, m.method, "http://"+r.host+m.path, strings.NewReader(string(m.body)))
	if err != nil {
		return answer{}, err
	}
	for key, values := range m.header {
		request.Header[key] = values
	}
	request.Header.Set("Authorization", "Bearer "+c.token)
	if m.mediaType != "" {
		request.Header.Set("Content-Type", m.mediaType)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, response.Header, body}, err
}

// do sends a request to the replicas in turn until one has answered, as whoever repeats a
// push does. What became of a request that a kill cut off is not known before.
func (c *caller) do(ctx context.Context, m message) (last answer) {
	next := c.random.IntN(len(c.replicas))
	err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		got, err := c.once(ctx, c.replicas[next%len(c.replicas)], m)
		next++
		if err != nil {
			c.tally.cut.Add(1)
			last = answer{body: []byte(err.Error())}
			return false, nil
		}
		last = got
		return got.status != http.StatusServiceUnavailable, nil
	})
	if err != nil && last.status == 0 {
		last.body = fmt.Appendf(nil, "no answer within %s: %v: %s", patience, err, last.body)
	}
	return last
}

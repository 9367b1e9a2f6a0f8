package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	clockTicks = 100 // USER_HZ of Linux
	readyLimit = 60 * time.Second
)

// process is a server that this program started.
type process struct {
	name    string
	command *exec.Cmd
	url     string
	done    chan struct{}
}

// startProcess runs a server whose output goes to a file, and waits until ready answers 200.
func startProcess(ctx context.Context, dir, name, address, ready string, client *http.Client, env []string, argv ...string) (*process, time.Duration, error) {
	log, err := os.Create(filepath.Join(dir, name+".log")) //nolint:gosec // names are constants
	if err != nil {
		return nil, 0, err
	}
	defer log.Close()                                         //nolint:errcheck // the child has its own descriptor
	command := exec.CommandContext(ctx, argv[0], argv[1:]...) //nolint:gosec // built by this program
	command.Stdout, command.Stderr = log, log
	command.Env = append(os.Environ(), env...)
	// The servers end with this program, whatever ends it.
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	start := time.Now()
	if err := command.Start(); err != nil {
		return nil, 0, fmt.Errorf("%s: %w", name, err)
	}
	p := &process{name: name, command: command, url: "https://" + address, done: make(chan struct{})}
	go func() {
		_ = command.Wait()
		close(p.done)
	}()
	for {
		if answers(ctx, client, p.url+ready) {
			return p, time.Since(start), nil
		}
		select {
		case <-p.done:
			return nil, 0, fmt.Errorf("%s ended early: %s", name, tail(log.Name()))
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		case <-time.After(2 * time.Millisecond):
		}
		if time.Since(start) > readyLimit {
			p.stop()
			return nil, 0, fmt.Errorf("%s is not ready after %s: %s", name, readyLimit, tail(log.Name()))
		}
	}
}

func answers(ctx context.Context, client *http.Client, url string) bool {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	answer, err := client.Do(r)
	if err != nil {
		return false
	}
	defer answer.Body.Close() //nolint:errcheck // nothing is read
	_, _ = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode == http.StatusOK
}

func tail(path string) string {
	raw, _ := os.ReadFile(path) //nolint:gosec // own file
	return string(raw[max(0, len(raw)-2000):])
}

// stop ends the process and waits for it.
func (p *process) stop() {
	if p == nil {
		return
	}
	_ = p.command.Process.Kill()
	<-p.done
}

// cpu is the processor time used so far.
func (p *process) cpu() time.Duration {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.command.Process.Pid))
	if err != nil {
		return 0
	}
	// The name of the program, in parentheses, may contain blanks.
	_, rest, _ := strings.Cut(string(raw), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * time.Second / clockTicks
}

// memory reads a line of /proc/PID/status, in bytes.
func (p *process) memory(key string) int64 {
	file, err := os.Open(fmt.Sprintf("/proc/%d/status", p.command.Process.Pid))
	if err != nil {
		return 0
	}
	defer file.Close() //nolint:errcheck // read only
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), key+":"); ok {
			kib, _ := strconv.ParseInt(strings.Fields(text)[0], 10, 64)
			return kib << 10
		}
	}
	return 0
}

// freeAddress finds a port on the loopback that nobody uses now.
func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer listener.Close() //nolint:errcheck // only its number was wanted
	return listener.Addr().String(), nil
}

// newClient makes the client of a measurement. Connections are kept.
func newClient(config *tls.Config, clients int, http2 bool) *http.Client {
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(http2)
	return &http.Client{
		Transport: &http.Transport{
			TLSClientConfig: config.Clone(), Protocols: protocols, DisableCompression: true,
			MaxIdleConns: 0, MaxIdleConnsPerHost: clients + 8, WriteBufferSize: 64 << 10, ReadBufferSize: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// build compiles a program of this module, or of one it depends on.
func build(ctx context.Context, dir, name, pkg string) (string, error) {
	path := filepath.Join(dir, name)
	command := exec.CommandContext(ctx, "go", "build", "-o", path, pkg) //nolint:gosec // constants
	if output, err := command.CombinedOutput(); err != nil {
		return "", errors.Join(fmt.Errorf("build %s: %w", pkg, err), errors.New(string(output)))
	}
	return path, nil
}

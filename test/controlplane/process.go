package controlplane

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// stopTimeout is how long a process may take to end by itself before it is killed.
const stopTimeout = 10 * time.Second

// process is one child process.
type process struct {
	name    string
	logFile string
	cmd     *exec.Cmd
	// done is closed when the process has ended.
	done chan struct{}
}

// startProcess runs a program whose output goes to a file. The kernel kills it when the test process
// dies; that signal is bound to the thread which forked, so the forking goroutine keeps its thread.
func startProcess(path, logFile string, args []string) (*process, error) {
	log, err := os.Create(logFile)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	p := &process{name: filepath.Base(path), logFile: logFile, cmd: cmd, done: make(chan struct{})}

	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer log.Close()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		_ = cmd.Wait() // how a stopped child ended is of no interest
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// stop asks the process to end and kills it if it does not.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // fails only when the process has ended
	select {
	case <-p.done:
	case <-time.After(stopTimeout):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

package proc

import (
	"errors"
	"fmt"
	"regexp"
	"syscall"
	"time"
)

// Mark is the environment variable that every daemon of the cluster carries;
// its value is the daemon's name. Children inherit it.
const Mark = "DEVCLUSTER_DAEMON"

// Selector describes processes that belong together. A process is selected when
// any one of the criteria matches.
type Selector struct {
	// Mark selects by the value of the environment variable Mark.
	Mark func(daemon string) bool
	// NetNS holds the inodes of network namespaces.
	NetNS map[uint64]bool
	// Cgroup is matched against the lines of /proc/PID/cgroup.
	Cgroup *regexp.Regexp
}

// Find lists the living processes that match, without the caller and its
// ancestors, which would otherwise be found when run inside a node.
func (t Table) Find(s Selector, self int) ([]int, error) {
	pids, err := t.PIDs()
	if err != nil {
		return nil, err
	}
	spared := t.ancestors(self)
	var found []int
	for _, pid := range pids {
		if !spared[pid] && t.matches(pid, s) {
			found = append(found, pid)
		}
	}
	return found, nil
}

func (t Table) ancestors(pid int) map[int]bool {
	line := map[int]bool{1: true}
	for pid > 1 && !line[pid] {
		line[pid] = true
		pid = t.Parent(pid)
	}
	return line
}

func (t Table) matches(pid int, s Selector) bool {
	stat, err := t.stat(pid)
	if err != nil || stat.dead() {
		return false
	}
	if s.Mark != nil {
		if daemon, ok := t.Environ(pid, Mark); ok && s.Mark(daemon) {
			return true
		}
	}
	if ns, ok := t.NetNS(pid); ok && s.NetNS[ns] {
		return true
	}
	return s.Cgroup != nil && s.Cgroup.MatchString(t.Cgroups(pid))
}

// KillAll kills what matches until nothing does: what is killed may have been
// starting something at that moment. It fails with the processes that are left
// after the timeout.
func (t Table) KillAll(s Selector, self int, timeout time.Duration) (int, error) {
	killed := map[int]bool{}
	deadline := time.Now().Add(timeout)
	for {
		pids, err := t.Find(s, self)
		if err != nil || len(pids) == 0 {
			return len(killed), err
		}
		if time.Now().After(deadline) {
			return len(killed), fmt.Errorf("processes %v do not end", pids)
		}
		for _, pid := range pids {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				return len(killed), fmt.Errorf("kill process %d: %w", pid, err)
			}
			killed[pid] = true
		}
		time.Sleep(50 * time.Millisecond)
	}
}

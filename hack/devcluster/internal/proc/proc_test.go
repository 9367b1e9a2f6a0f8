package proc

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

const statTail = " 0 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 777 0 0"

func TestStatIsParsedWhateverTheCommandIsCalled(t *testing.T) {
	for _, command := range []string{"etcd", "a b", "x) S 1 (y", "", ")))"} {
		got, err := ParseStat("42 (" + command + ") S 7 42" + statTail)
		if err != nil || got != (Stat{State: 'S', Parent: 7, Start: 777}) {
			t.Errorf("%q: %+v, %v", command, got, err)
		}
	}
}

func TestBrokenStatIsRefused(t *testing.T) {
	for _, line := range []string{"", "1 (a", "1 (a) S 1 2", "1 (a) S x 1" + statTail, strings.Replace("1 (a) S 1 1"+statTail, "777", "-", 1)} {
		if got, err := ParseStat(line); err == nil {
			t.Errorf("%q: %+v without an error", line, got)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add("42 (a) S 7 42" + statTail)
	f.Add("42 (a)")
	f.Fuzz(func(_ *testing.T, line string) { _, _ = ParseStat(line) })
}

// fakeProc writes a process table with one process.
func fakeProc(t *testing.T, boot string, pid int, files map[string]string) Table {
	t.Helper()
	root := t.TempDir()
	write(t, filepath.Join(root, "sys/kernel/random/boot_id"), boot+"\n")
	for name, text := range files {
		write(t, filepath.Join(root, strconv.Itoa(pid), name), text)
	}
	return Table{Root: root}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestAReusedProcessIDIsNotTheRecordedProcess(t *testing.T) {
	table := fakeProc(t, "boot-a", 42, map[string]string{"stat": "42 (etcd) S 1 42" + statTail})
	id, err := table.Identify(42)
	if err != nil {
		t.Fatal(err)
	}
	if id != (Identity{PID: 42, Start: 777, Boot: "boot-a"}) {
		t.Fatalf("identity %+v", id)
	}
	for name, tc := range map[string]struct {
		id    Identity
		alive bool
	}{
		"the same":        {id, true},
		"started later":   {Identity{42, 778, "boot-a"}, false},
		"another boot":    {Identity{42, 777, "boot-b"}, false},
		"another process": {Identity{43, 777, "boot-a"}, false},
		"no process":      {Identity{}, false},
	} {
		if got := table.Alive(tc.id); got != tc.alive {
			t.Errorf("%s: alive %v, want %v", name, got, tc.alive)
		}
	}
}

func TestAZombieIsAliveAsLongAsItsThreads(t *testing.T) {
	for name, tc := range map[string]struct {
		threads []string
		alive   bool
	}{
		"not said":            {nil, false},
		"none but the first":  {[]string{"42"}, false},
		"one that still runs": {[]string{"42", "43"}, true},
	} {
		files := map[string]string{"stat": "42 (etcd) Z 1 42" + statTail}
		for _, thread := range tc.threads {
			files["task/"+thread+"/stat"] = ""
		}
		if got := fakeProc(t, "b", 42, files).Alive(Identity{42, 777, "b"}); got != tc.alive {
			t.Errorf("threads %s: alive %v, want %v", name, got, tc.alive)
		}
	}
}

func TestProcessesAreFoundByMarkAndCgroup(t *testing.T) {
	for name, tc := range map[string]struct {
		files map[string]string
		found bool
	}{
		"marked":            {map[string]string{"environ": "A=b\x00" + Mark + "=etcd\x00"}, true},
		"other mark":        {map[string]string{"environ": Mark + "=other\x00"}, false},
		"value looks alike": {map[string]string{"environ": "X=" + Mark + "=etcd\x00"}, false},
		"in the cgroup":     {map[string]string{"cgroup": "1:cpu:/ours/pod\n"}, true},
		"elsewhere":         {map[string]string{"cgroup": "1:cpu:/theirs\n"}, false},
	} {
		tc.files["stat"] = "42 (x) S 1 42" + statTail
		table := fakeProc(t, "b", 42, tc.files)
		pids, err := table.Find(Selector{Mark: func(d string) bool { return d == "etcd" }, Cgroup: regexp.MustCompile(`:/ours`)}, 1)
		if err != nil || (len(pids) == 1) != tc.found {
			t.Errorf("%s: found %v, %v", name, pids, err)
		}
	}
}

func TestTheCallerIsSpared(t *testing.T) {
	table := fakeProc(t, "b", 42, map[string]string{"stat": "42 (x) S 1 42" + statTail, "environ": Mark + "=etcd\x00"})
	pids, err := table.Find(Selector{Mark: func(string) bool { return true }}, 42)
	if err != nil || len(pids) != 0 {
		t.Errorf("found %v, %v", pids, err)
	}
}

func TestKillAllEndsARealProcess(t *testing.T) {
	cmd := exec.Command("sleep", "600")
	name := "test-" + strconv.Itoa(os.Getpid())
	cmd.Env = []string{Mark + "=" + name}
	if err := cmd.Start(); err != nil {
		t.Skipf("no sleep to run: %v", err)
	}
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	killed, err := System().KillAll(Selector{Mark: func(d string) bool { return d == name }}, os.Getpid(), 10*time.Second)
	if err != nil || killed != 1 {
		t.Errorf("killed %d, %v", killed, err)
	}
	<-done
}

package memlimit

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestFromContainer(t *testing.T) {
	const v2, v1 = "sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes"
	for name, test := range map[string]struct {
		files map[string]string
		want  int64
	}{
		"version 2":              {map[string]string{v2: "1000\n"}, 900},
		"version 2, no limit":    {map[string]string{v2: "max\n"}, 0},
		"version 1":              {map[string]string{v1: "2000\n"}, 1800},
		"version 1, no limit":    {map[string]string{v1: "9223372036854771712\n"}, 0},
		"negative":               {map[string]string{v2: "-1\n"}, 0},
		"empty":                  {map[string]string{v2: ""}, 0},
		"no control group there": {map[string]string{"elsewhere": "1000"}, 0},
		"named by the kernel": {map[string]string{
			"proc/self/cgroup": "0::/pods/pod1/registry\n", "sys/fs/cgroup/pods/pod1/registry/memory.max": "3000\n", "sys/fs/cgroup/pods/memory.max": "max\n",
		}, 2700},
		"the Pod has less": {map[string]string{
			"proc/self/cgroup": "0::/pods/pod1/registry\n", "sys/fs/cgroup/pods/pod1/registry/memory.max": "max\n", "sys/fs/cgroup/pods/pod1/memory.max": "1000\n",
		}, 900},
		"named by the kernel, version 1": {map[string]string{
			"proc/self/cgroup": "5:cpu,cpuacct:/a\n4:memory:/b\n", "sys/fs/cgroup/memory/b/memory.limit_in_bytes": "4000\n",
		}, 3600},
		"a group outside of what is seen": {map[string]string{"proc/self/cgroup": "0::/../other\n", v2: "1000\n"}, 900},
		"nonsense":                        {map[string]string{"proc/self/cgroup": "\n::\nx\n", v2: "1000\n"}, 900},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			for file, content := range test.files {
				path := filepath.Join(root, file)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if got := fromContainer(root); got != test.want {
				t.Errorf("%d, want %d", got, test.want)
			}
		})
	}
}

const childVariable = "MEMLIMIT_TEST_PRINT"

// A real control group: the process in it limits its heap to nine tenths.
func TestApplyInAControlGroup(t *testing.T) {
	if file := os.Getenv(childVariable); file != "" {
		Apply()
		if err := os.WriteFile(file, []byte(strconv.FormatInt(debug.SetMemoryLimit(-1), 10)), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	const limit = 256 << 20
	group := newGroup(t, limit)
	file := filepath.Join(t.TempDir(), "limit")
	// The shell enters the group before it becomes the test, so that nothing runs outside.
	command := exec.Command("/bin/sh", "-c", `echo $$ > "$0/cgroup.procs" && exec "$@"`, group, os.Args[0], "-test.run=^TestApplyInAControlGroup$") //nolint:gosec // own program
	command.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "GOMEMLIMIT=") }), childVariable+"="+file)
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	got, err := os.ReadFile(file)
	if want := strconv.FormatInt(limit/10*9, 10); err != nil || string(got) != want {
		t.Errorf("the limit is %s, want %s (%v)", got, want, err)
	}
}

// newGroup makes a control group with a limit, or skips the test where that is not allowed.
func newGroup(t *testing.T, limit int64) string {
	t.Helper()
	for _, hierarchy := range hierarchies {
		group := filepath.Join("/", hierarchy.mount, fmt.Sprintf("memlimit-test-%d", os.Getpid()))
		if os.Mkdir(group, 0o755) != nil {
			continue
		}
		t.Cleanup(func() { _ = os.Remove(group) })
		if _, err := os.Stat(filepath.Join(group, hierarchy.file)); err != nil {
			continue // an ordinary directory
		}
		if os.WriteFile(filepath.Join(group, hierarchy.file), []byte(strconv.FormatInt(limit, 10)), 0o600) == nil {
			return group
		}
	}
	t.Skip("control groups cannot be made here")
	return ""
}

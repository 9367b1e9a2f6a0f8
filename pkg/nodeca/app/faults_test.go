//go:build linux && amd64

package app

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/big"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"image.alauda.io/registry/pkg/nodeca/inputs"
)

// programVariable makes the test binary the node agent, so that the tests trace the real program.
const programVariable = "NODE_CA_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if command, ok := os.LookupEnv(programVariable); ok {
		ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM)
		code := Run(ctx, strings.Fields(command), os.Stdout, os.Stderr)
		stop()
		os.Exit(code)
	}
	os.Exit(m.Run())
}

const (
	ownHost   = "image-registry.image-registry-system.svc:5000"
	certsRoot = "containerd/certs.d"
	// foreignHosts has no final newline, and bytes that are no text.
	foreignHosts = "127.0.0.1 localhost\r\n\xff\xfe\x00\n::1 ip6-localhost"
)

var faultCAs = [2]string{newCA(1), newCA(2)}

func newCA(serial int64) string {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// machine is a node whose /etc and volumes are directories.
type machine struct {
	t   *testing.T
	top string
}

// newMachine makes the /etc of a node as an administrator left it: a runtime with two directories, one of its
// own mirrors, an empty directory for the registry, and a hosts file.
func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{t: t, top: t.TempDir()}
	if memory, err := os.MkdirTemp("/dev/shm", "node-ca-"); err == nil { // much quicker, and the calls are the same
		t.Cleanup(func() { os.RemoveAll(memory) })
		m.top = memory
	}
	long := time.Now().Add(-24 * time.Hour)
	for name, text := range map[string]string{
		"etc/hosts": foreignHosts,
		"etc/containerd/config.toml": "version = 3\n[plugins.'io.containerd.cri.v1.images'.registry]\n" +
			"config_path = '/etc/containerd/certs.d:/etc/docker/certs.d'\n",
		"etc/" + certsRoot + "/docker.io/hosts.toml":          "server = 'https://mirror.example.com'\n",
		"etc/" + certsRoot + "/client.example.com/key.key":    "not ours",
		"etc/" + certsRoot + "/" + ownHost + "/":              "",
		"etc/" + certsRoot + "/foreign.example.com/ca.crt":    newCA(3),
		"etc/" + certsRoot + "/foreign.example.com/note.text": "x",
		"certificates/": "", "config/": "", "run/": "",
	} {
		file := filepath.Join(m.top, name)
		if strings.HasSuffix(name, "/") {
			m.must(os.MkdirAll(file, 0o755))
			continue
		}
		m.must(os.MkdirAll(filepath.Dir(file), 0o755))
		m.must(os.WriteFile(file, []byte(text), 0o640))
		m.must(os.Chtimes(file, long, long))
	}
	m.must(os.Chown(filepath.Join(m.top, "etc", certsRoot, "client.example.com", "key.key"), 65534, 65534))
	return m
}

func (m *machine) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

// copied returns the same machine in another place, with modes, owners and times.
func (m *machine) copied(t *testing.T) *machine {
	t.Helper()
	return m.copiedTo(t, m.top+"-copy")
}

func (m *machine) copiedTo(t *testing.T, top string) *machine {
	t.Helper()
	must := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	must(os.RemoveAll(top))
	t.Cleanup(func() { os.RemoveAll(top) })
	must(filepath.WalkDir(m.top, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		to := top + strings.TrimPrefix(path, m.top)
		if entry.IsDir() {
			return os.Mkdir(to, 0o755)
		}
		var stat unix.Stat_t
		must(unix.Lstat(path, &stat))
		data, err := os.ReadFile(path)
		must(err)
		must(os.WriteFile(to, data, 0o600))
		must(os.Chown(to, int(stat.Uid), int(stat.Gid)))
		must(os.Chmod(to, fs.FileMode(stat.Mode&0o777)))
		return unix.UtimesNanoAt(unix.AT_FDCWD, to, []unix.Timespec{stat.Mtim, stat.Mtim}, 0)
	}))
	return &machine{t: t, top: top}
}

// publish writes both volumes: the first generation, or the second with another CA, another address, one host
// less and one host more.
func (m *machine) publish(second bool) {
	m.t.Helper()
	ca, address, additional := faultCAs[0], "198.18.128.11", "old.example.com..443"
	if second {
		ca, address, additional = faultCAs[1], "198.18.128.22", "new.example.com"
	}
	values := map[string][]byte{
		"image-registry.image-registry-system.svc..5000": []byte(ca), additional: []byte(ca),
		"client.example.com": []byte(ca), "foreign.example.com": []byte(ca),
	}
	m.must(os.RemoveAll(filepath.Join(m.top, "certificates")))
	m.must(os.Mkdir(filepath.Join(m.top, "certificates"), 0o755))
	for key, value := range values {
		m.must(os.WriteFile(filepath.Join(m.top, "certificates", key), value, 0o644))
	}
	config := fmt.Sprintf(`{"version":1,"hash":%q,"hosts":[{"ip":%q,"names":["image-registry.image-registry-system.svc"]}],"registries":[%q]}`,
		inputs.Hash(values), address, ownHost)
	m.must(os.WriteFile(filepath.Join(m.top, "config", "config.json"), []byte(config), 0o644))
}

func (m *machine) environment() map[string]string {
	return map[string]string{
		"NODE_CA_HOST_ETC": filepath.Join(m.top, "etc"), "NODE_CA_CERTIFICATES_DIR": filepath.Join(m.top, "certificates"),
		"NODE_CA_CONFIG_DIR": filepath.Join(m.top, "config"), "NODE_CA_STATE_DIR": filepath.Join(m.top, "run"), "NODE_CA_METRICS_ADDR": "",
	}
}

// run runs the program without faults in this process.
func (m *machine) run(command string) string {
	m.t.Helper()
	env := m.environment()
	var out bytes.Buffer
	if code := run(m.t.Context(), strings.Fields(command), environment(env), &out, io.Discard); code != exitOK {
		m.t.Fatalf("%s without faults: exit code %d\n%s", command, code, &out)
	}
	return out.String()
}

// faulty runs the program with faults.
func (m *machine) faulty(command string, decide func(int, writingCall) fate) ending {
	m.t.Helper()
	process := exec.Command(os.Args[0])
	process.Env = []string{programVariable + "=" + command, "GOMAXPROCS=1", "GOGC=off"}
	for name, value := range m.environment() {
		process.Env = append(process.Env, name+"="+value)
	}
	end, err := traced(process, filepath.Join(m.top, "etc"), decide)
	if err != nil {
		m.t.Fatal(err)
	}
	return end
}

// tree describes every entry below /etc: type, mode, owner and content, for files whose content did not change
// also the time.
func (m *machine) tree(times bool) map[string]string {
	m.t.Helper()
	all := map[string]string{}
	etc := filepath.Join(m.top, "etc")
	m.must(filepath.WalkDir(etc, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var stat unix.Stat_t
		if err := unix.Lstat(path, &stat); err != nil {
			return err
		}
		rel, _ := filepath.Rel(etc, path)
		text := fmt.Sprintf("mode %o owner %d:%d", stat.Mode, stat.Uid, stat.Gid)
		if stat.Mode&unix.S_IFMT == unix.S_IFREG {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if times && rel != "hosts" { // its content is edited, so its time has to change
				text += fmt.Sprintf(" time %d.%d", stat.Mtim.Sec, stat.Mtim.Nsec)
			}
			text += " " + string(data)
		}
		all[rel] = text
		return nil
	}))
	return all
}

// age makes what a dead agent left look old enough to be swept.
func (m *machine) age() {
	long := time.Now().Add(-time.Hour)
	for path := range m.tree(false) {
		if strings.HasPrefix(filepath.Base(path), ".node-ca-") {
			m.must(os.Chtimes(filepath.Join(m.top, "etc", path), long, long))
		}
	}
}

// unsound says what a fault has damaged, empty for nothing.
func (m *machine) unsound(foreign map[string]string) string {
	now := m.tree(true)
	for path, want := range foreign {
		if path == "hosts" {
			continue
		}
		if got := now[path]; got != want {
			return fmt.Sprintf("%s was\n%q\nand is\n%q", path, want, got)
		}
	}
	hosts, err := os.ReadFile(filepath.Join(m.top, "etc", "hosts"))
	if err != nil || !bytes.HasPrefix(hosts, []byte(foreignHosts)) {
		return fmt.Sprintf("the hosts file lost lines: %q, %v", hosts, err)
	}
	for path, text := range now {
		host, name := filepath.Base(filepath.Dir(path)), filepath.Base(path)
		if strings.HasPrefix(host, ".node-ca-") || foreign[path] != "" {
			continue
		}
		switch name {
		case "ca.crt", "image-registry-node-ca.crt":
			_, pem, _ := strings.Cut(text, " -----BEGIN")
			if pem = "-----BEGIN" + pem; pem != faultCAs[0] && pem != faultCAs[1] {
				return fmt.Sprintf("%s is no whole certificate: %q", path, text)
			}
		case "hosts.toml":
			if now[filepath.Join(filepath.Dir(path), "ca.crt")] == "" || !strings.HasSuffix(text, "\n[host]\n") {
				return fmt.Sprintf("%s is cut or lacks its CA: %q", path, text)
			}
		}
	}
	return ""
}

// modes are the ways in which the k-th writing call and what follows it go wrong. With EVERY_CALL=1 each of
// them is tried at every call; otherwise at each call one that ends the process in the middle of it, and the
// others at as many as the time of a test allows.
var modes = map[string]struct {
	every  int
	decide func(k int) func(n int, call writingCall) fate
}{
	"one call fails": {3, func(k int) func(int, writingCall) fate {
		errors := []unix.Errno{unix.EIO, unix.ENOSPC, unix.EDQUOT, unix.EROFS, unix.EACCES, unix.EPERM}
		return func(n int, _ writingCall) fate {
			if n == k {
				return fate{errno: errors[k%len(errors)]}
			}
			return fate{}
		}
	}},
	"the disk is full": {5, func(k int) func(int, writingCall) fate {
		return func(n int, call writingCall) fate {
			switch {
			case n < k || !call.grows:
				return fate{}
			case n == k && strings.Contains(call.name, "write"):
				return fate{half: true} // what still fits
			case k%2 == 0:
				return fate{errno: unix.EDQUOT}
			}
			return fate{errno: unix.ENOSPC}
		}
	}},
	"the file system becomes read-only": {5, func(k int) func(int, writingCall) fate {
		return func(n int, _ writingCall) fate {
			if n >= k {
				return fate{errno: unix.EROFS}
			}
			return fate{}
		}
	}},
	"killed before the call": {5, func(k int) func(int, writingCall) fate {
		return func(n int, _ writingCall) fate { return fate{kill: n == k} }
	}},
	"killed in the call": {1, func(k int) func(int, writingCall) fate {
		return func(n int, _ writingCall) fate { return fate{half: n == k, killAfter: n == k} }
	}},
}

// Behaviours 13, 18, 23: the real program, and every one of its system calls that writes below /etc.
func TestAFaultAtAnyWritingCallDamagesNothing(t *testing.T) {
	pristine := newMachine(t)
	foreign := pristine.tree(true)
	installed := pristine.copied(t)
	installed.publish(false)
	installed.run("once")
	for command, begin := range map[string]struct {
		from   *machine
		second bool
		run    string
	}{
		"installation": {pristine, false, "once"}, "change": {installed, true, "once"}, "clean-up": {installed, false, "cleanup"},
	} {
		for mode, how := range modes {
			step := how.every
			if os.Getenv("EVERY_CALL") != "" {
				step = 1
			}
			t.Run(command+"/"+mode, func(t *testing.T) {
				t.Parallel()
				m := &machine{t: t, top: filepath.Join(filepath.Dir(pristine.top), strings.ReplaceAll(filepath.Base(pristine.top)+"-"+t.Name(), "/", "-"))}
				fresh := func() {
					begin.from.copiedTo(t, m.top)
					m.publish(begin.second)
				}
				fresh()
				m.run(begin.run)
				want := m.tree(false)
				for k := 1; ; k += step {
					fresh()
					end := m.faulty(begin.run, how.decide(k))
					if len(end.calls) < k {
						if len(end.calls) < 20 || end.code != exitOK {
							t.Fatalf("%d calls, exit code %d\n%s", len(end.calls), end.code, end.output)
						}
						t.Logf("%d writing calls", len(end.calls))
						return
					}
					at := fmt.Sprintf("%d, %s", k, end.calls[k-1])
					if problem := m.unsound(foreign); problem != "" {
						t.Fatalf("call %s: %s", at, problem)
					}
					if !end.killed && strings.Contains(end.output, "panic") {
						t.Fatalf("call %s: %s", at, end.output)
					}
					cleaned := m.copied(t)
					cleaned.run("cleanup")
					if got := cleaned.tree(true); !maps.Equal(got, foreign) {
						t.Fatalf("call %s: a clean-up right after it does not restore the node%s", at, difference(foreign, got))
					}
					m.age()
					m.run(begin.run)
					if got := m.tree(false); !maps.Equal(got, want) {
						t.Fatalf("call %s: the next run does not heal it%s", at, difference(want, got))
					}
				}
			})
		}
	}
}

// Behaviours 18, 23: a file system that is really full, and has room again later.
func TestAFullFileSystemKeepsWhatIsThere(t *testing.T) {
	small := t.TempDir()
	if err := unix.Mount("node-ca", small, "tmpfs", 0, "size=160k"); err != nil {
		t.Skipf("only root may mount a small file system: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(small, unix.MNT_DETACH) })
	pristine := newMachine(t)
	foreign := pristine.tree(true)
	m := pristine.copiedTo(t, filepath.Join(small, "node"))
	m.publish(false)
	m.run("once")
	m.publish(true)
	filler := filepath.Join(small, "filler")
	if err := os.WriteFile(filler, make([]byte, 1<<20), 0o600); err == nil {
		t.Fatal("the file system is not full")
	}
	var out bytes.Buffer
	run(t.Context(), []string{"once"}, environment(m.environment()), &out, io.Discard)
	if !strings.Contains(out.String(), "NoSpace") {
		t.Errorf("the status names no lack of space:\n%s", &out)
	}
	if problem := m.unsound(foreign); problem != "" {
		t.Error(problem)
	}
	m.must(os.Remove(filler))
	if m.run("once"); !strings.Contains(m.tree(false)["hosts"], "198.18.128.22") {
		t.Errorf("with room again the hosts file is %q", m.tree(false)["hosts"])
	}
	m.run("cleanup")
	if got := m.tree(true); !maps.Equal(got, foreign) {
		t.Errorf("cleaned, the node differs%s", difference(foreign, got))
	}
}

func difference(want, got map[string]string) string {
	var out strings.Builder
	for _, path := range slices.Sorted(maps.Keys(want)) {
		if got[path] != want[path] {
			fmt.Fprintf(&out, "\n%s should be %q\n  and is %q", path, want[path], got[path])
		}
	}
	for _, path := range slices.Sorted(maps.Keys(got)) {
		if want[path] == "" {
			fmt.Fprintf(&out, "\n%s should not be there: %q", path, got[path])
		}
	}
	return out.String()
}

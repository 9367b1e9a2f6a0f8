package preflight

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	clocktesting "k8s.io/utils/clock/testing"
)

func request(value string) Request {
	r := Request{Env: []corev1.EnvVar{{Name: "REGISTRY_STORAGE_S3_BUCKET", Value: value}}}
	r.Seal("salt")
	return r
}

func TestTheKeyFollowsTheContentAlone(t *testing.T) {
	base := Request{Env: []corev1.EnvVar{{Name: "A", Value: "b"}}, Files: map[string][]byte{"/x": []byte("1"), "/y": []byte("2")}}
	base.Seal("salt")
	for name, other := range map[string]Request{
		"variable": {Env: []corev1.EnvVar{{Name: "A", Value: "c"}}, Files: base.Files},
		"border":   {Env: []corev1.EnvVar{{Name: "Ab", Value: ""}}, Files: base.Files},
		"file":     {Env: base.Env, Files: map[string][]byte{"/x": []byte("1"), "/y": []byte("3")}},
		"no file":  {Env: base.Env, Files: map[string][]byte{"/x": []byte("1")}},
	} {
		if other.Seal("salt"); other.Key == base.Key {
			t.Errorf("%s: the key is the same", name)
		}
	}
	again, salted := base, base
	if again.Seal("salt"); again.Key != base.Key {
		t.Error("the key of the same request is another one")
	}
	if salted.Seal("other"); salted.Key == base.Key {
		t.Error("the key does not depend on the salt")
	}
}

// Behaviour 50: no credential, and the same words for the same fault.
func TestResultsAreCleaned(t *testing.T) {
	r := Request{Secrets: []string{"hidden-key", "abc"}}
	got := r.clean(Result{Step: "write", Code: "hidden-key", Text: "key hidden-key of abc:\n read tcp 10.1.2.3:41234->10.0.0.1:443: i/o timeout " + strings.Repeat("x", 600)})
	if strings.Contains(got.Sentence(), "hidden-key") || strings.Contains(got.Text, "41234") || strings.Contains(got.Text, "\n") || len(got.Text) > maxText+3 {
		t.Errorf("%+v", got)
	}
	if !strings.Contains(got.Text, "of abc") {
		t.Errorf("short texts are no secrets: %q", got.Text)
	}
}

func TestTheScheduleOfChecks(t *testing.T) {
	o, now := DefaultOptions(), time.Unix(1700000000, 0)
	known := func(result Result, fullOK bool) subject {
		return subject{verdict: Verdict{true, result}, fullOK: fullOK, full: now, list: now.Add(time.Minute)}
	}
	failed, transient := Result{Reason: "X"}, Result{}
	daily := known(Result{OK: true}, true)
	daily.list = now.Add(24*time.Hour - time.Minute)
	for name, test := range map[string]struct {
		subject  subject
		listOnly bool
		due      time.Time
	}{
		"at once":                        {subject{}, false, time.Time{}},
		"soon after a fault":             {known(failed, false), false, now.Add(o.AgainPermanent)},
		"sooner after a passing one":     {known(transient, false), false, now.Add(o.AgainTransient)},
		"a look at the root":             {known(Result{OK: true}, true), true, now.Add(time.Minute + o.List)},
		"again a look":                   {known(failed, true), true, now.Add(time.Minute + o.AgainPermanent)},
		"once a day, not after the look": {daily, false, now.Add(24 * time.Hour)},
	} {
		if listOnly, due := o.schedule(test.subject); listOnly != test.listOnly || !due.Equal(test.due) {
			t.Errorf("%s: %t %v, want %t %v", name, listOnly, due, test.listOnly, test.due)
		}
	}
	if o.AgainPermanent >= time.Minute {
		t.Error("what is repaired outside the cluster has to heal within a minute")
	}
}

// checks plays the child.
type checks struct {
	mu     sync.Mutex
	seen   []string
	result Result
	err    error
	hang   bool
}

func (c *checks) run(ctx context.Context, r Request, listOnly bool, _ time.Duration) (Result, error) {
	c.mu.Lock()
	kind := "full "
	if listOnly {
		kind = "list "
	}
	c.seen = append(c.seen, kind+r.Env[0].Value)
	result, err, hang := c.result, c.err, c.hang
	c.mu.Unlock()
	if hang {
		<-ctx.Done()
		return Result{}, ctx.Err()
	}
	return result, err
}

func (c *checks) set(result Result, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.result, c.err, c.hang = result, err, false
}

func (c *checks) list() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.seen)
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for !holds() {
		select {
		case <-ctx.Done():
			t.Fatalf("not yet: %s", what)
		case <-time.After(time.Millisecond):
		}
	}
}

func startProber(t *testing.T, c *checks) (*Prober, *clocktesting.FakeClock, *sync.Map) {
	t.Helper()
	options := DefaultOptions()
	clock := clocktesting.NewFakeClock(time.Unix(1700000000, 0))
	var changes sync.Map
	n := 0
	options.Clock, options.Check = clock, c.run
	options.OnChange = func() { n++; changes.Store(n, true) }
	p, err := New(options)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); p.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return p, clock, &changes
}

func size(m *sync.Map) (n int) {
	m.Range(func(any, any) bool { n++; return true })
	return n
}

func TestOneRequestIsFollowedUntilItHeals(t *testing.T) {
	c := &checks{result: Result{Step: "write", Reason: "BucketNotFound", Text: "no"}}
	p, clock, changes := startProber(t, c)
	if verdict := p.Look(request("a")); verdict.Known {
		t.Fatalf("known before the first check: %+v", verdict)
	}
	eventually(t, "the fault is known", func() bool { return p.Look(request("a")).Reason == "BucketNotFound" })
	eventually(t, "the change is told", func() bool { return size(changes) == 1 })
	eventually(t, "it waits", clock.HasWaiters)
	clock.Step(45 * time.Second)
	eventually(t, "it is asked again", func() bool { return len(c.list()) == 2 })
	eventually(t, "it waits", clock.HasWaiters)
	if size(changes) != 1 {
		t.Error("the same verdict is told twice")
	}
	c.set(Result{OK: true}, nil)
	clock.Step(45 * time.Second)
	eventually(t, "it heals", func() bool { return p.Look(request("a")).OK })
	eventually(t, "it waits", clock.HasWaiters)
	c.set(Result{}, errors.New("killed"))
	clock.Step(5 * time.Minute)
	eventually(t, "the look fails", func() bool { v := p.Look(request("a")); return v.Known && v.Transient() })
	if got, want := c.list(), []string{"full a", "full a", "full a", "list a"}; !slices.Equal(got, want) {
		t.Errorf("checks %q, want %q", got, want)
	}
}

func TestAnotherRequestEndsTheCheckOfTheFormer(t *testing.T) {
	c := &checks{hang: true}
	p, _, changes := startProber(t, c)
	p.Look(request("a"))
	eventually(t, "the first check runs", func() bool { return len(c.list()) == 1 })
	c.set(Result{OK: true}, nil)
	p.Look(request("b"))
	eventually(t, "the second is known", func() bool { return p.Look(request("b")).OK })
	eventually(t, "the change is told", func() bool { return size(changes) == 1 })
	p.Forget()
	if verdict := p.Look(request("b")); verdict.Known {
		t.Errorf("known after Forget: %+v", verdict)
	}
}

// The child has the environment of the Pod and nothing of this process, and its files are gone afterwards.
func TestTheChildGetsWhatThePodGets(t *testing.T) {
	dir := t.TempDir()
	script := filepath.Join(dir, "child")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nenv >"+dir+"/env\necho \"$@\" >"+dir+"/args\ncat $AWS_SHARED_CREDENTIALS_FILE >"+dir+"/file\necho noise\necho '{\"ok\":false,\"step\":\"write\",\"text\":\"key hidden-key\"}'\nexit 3\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	child := Child{Command: []string{script, "storage-check"}, TempDir: t.TempDir(), Environ: func() []string {
		return []string{"PATH=" + os.Getenv("PATH"), "KUBERNETES_SERVICE_HOST=10.0.0.1", "TOKEN=x", "AWS_ROLE_ARN=role"}
	}}
	r := Request{
		Env: []corev1.EnvVar{
			{Name: "AWS_SHARED_CREDENTIALS_FILE", Value: "/var/run/secrets/cloud/credentials"}, {Name: "NO_PROXY", Value: "a,$(KUBERNETES_SERVICE_HOST)"},
			{Name: "SSL_CERT_DIR", Value: "/etc/ssl/certs:/var/run/configmaps/storage-ca"}, {Name: "REGISTRY_STORAGE_S3_BUCKET", Value: "/var/run/x"},
		},
		Files: map[string][]byte{"/var/run/secrets/cloud/credentials": []byte("content")}, Secrets: []string{"hidden-key"},
	}
	result, err := child.Check(t.Context(), r, true, time.Second)
	if err != nil || result.Text != "key ***" {
		t.Fatalf("%+v, %v", result, err)
	}
	read := func(name string) string {
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(content)
	}
	env := read("env")
	for _, want := range []string{"NO_PROXY=a,10.0.0.1\n", "REGISTRY_STORAGE_S3_BUCKET=/var/run/x\n", "SSL_CERT_DIR=/etc/ssl/certs:" + child.TempDir} {
		if !strings.Contains(env, want) {
			t.Errorf("%q is not in the environment:\n%s", want, env)
		}
	}
	if strings.Contains(env, "TOKEN") || strings.Contains(env, "AWS_ROLE_ARN") || read("file") != "content" || read("args") != "storage-check --timeout=1s --list-only\n" {
		t.Errorf("environment:\n%s\nfile %q, arguments %q", env, read("file"), read("args"))
	}
	if left, err := os.ReadDir(child.TempDir); err != nil || len(left) != 0 {
		t.Errorf("left: %v %v", left, err)
	}
	r.Ambient = true
	if _, err := child.Check(t.Context(), r, false, time.Second); err != nil || !strings.Contains(read("env"), "AWS_ROLE_ARN=role") {
		t.Errorf("the identity of the platform is not passed on: %v", err)
	}
}

func TestAChildWithoutAnAnswerIsAnError(t *testing.T) {
	for _, script := range []string{"exit 1", "echo text", "echo '{}'", "kill -9 $$"} {
		child := Child{Command: []string{"/bin/sh", "-c", script}, TempDir: t.TempDir(), Environ: os.Environ}
		if result, err := child.Check(t.Context(), Request{}, false, time.Second); err == nil {
			t.Errorf("%q: %+v", script, result)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"ok":true}`))
	f.Add([]byte("noise\n{\"step\":\"write\",\"text\":\"x\"}\n"))
	f.Fuzz(func(t *testing.T, output []byte) {
		result, err := parse(output)
		if err == nil && !result.OK && (result.Step == "" || result.Text == "") {
			t.Errorf("%+v", result)
		}
	})
}

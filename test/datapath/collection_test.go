//go:build component

package datapath

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/registry/app"
	"image.alauda.io/registry/pkg/registry/gc"
	"image.alauda.io/registry/test/imageapi"
)

// processVariable makes the test binary the registry, with the configuration that it names.
const processVariable = "DATAPATH_REGISTRY_CONFIG"

// TestRegistryProcess is no test: it is the registry in a process that can be killed.
func TestRegistryProcess(t *testing.T) {
	config := os.Getenv(processVariable)
	if config == "" {
		t.Skip("only a process of another test")
	}
	os.Exit(app.Run(context.Background(), []string{config}, io.Discard, os.Stderr))
}

// collectingConfig is that of a replica which takes what is a second old.
func (e *environment) collectingConfig(t *testing.T, host, verifyDelay string) string {
	t.Helper()
	replica := &environment{Server: e.Server, storage: e.storage, host: host}
	return replica.registryConfig(t, nil, "", "gc: {minage: 1s, verifydelay: "+verifyDelay+"}")
}

// process runs a replica in a process of its own.
func (e *environment) process(t *testing.T, config, host string) *exec.Cmd {
	t.Helper()
	return e.loggingProcess(t, config, host, nil)
}

// loggingProcess is process with a place for its log.
func (e *environment) loggingProcess(t *testing.T, config, host string, log *os.File) *exec.Cmd {
	t.Helper()
	command := exec.Command(os.Args[0], "-test.run=^TestRegistryProcess$")
	command.Env = append(os.Environ(), processVariable+"="+config)
	if log != nil {
		command.Stderr = log
	}
	must(t, command.Start())
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	awaitReady(t, "http://"+host, http.DefaultClient)
	return command
}

// collector asks for collections as a ServiceAccount that may delete images.
type collector struct {
	t     *testing.T
	token string
}

func (e *environment) collector(t *testing.T) collector {
	t.Helper()
	namespace := e.namespace(t)
	e.grant(t, namespace, "collector")
	role := &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: namespace + "-collector"},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{imagev1.GroupName}, Resources: []string{"images"}, Verbs: []string{"delete"}}},
	}
	_, err := e.Kube.RbacV1().ClusterRoles().Create(t.Context(), role, metav1.CreateOptions{})
	must(t, err)
	e.allowEverywhere(t, namespace, "collector", role.Name)
	return collector{t, e.token(t, namespace, "collector", nil).(*authn.Basic).Password}
}

// ask returns status, headers and the report, if the answer is one.
func (c collector) ask(host, method, path, body string) (int, http.Header, gc.Report) {
	c.t.Helper()
	got := send(c.t, http.DefaultClient, method, "http://"+host+path, &authn.Bearer{Token: c.token}, []byte(body))
	var report gc.Report
	if got.status < 300 {
		must(c.t, json.Unmarshal(got.body, &report))
	}
	return got.status, got.header, report
}

func (c collector) start(host, body string) string {
	c.t.Helper()
	status, header, report := c.ask(host, http.MethodPost, "/admin/gc", body)
	if status != http.StatusAccepted || report.State != gc.StateRunning {
		c.t.Fatalf("POST /admin/gc at %s: status %d, report %+v", host, status, report)
	}
	return header.Get("Location")
}

// await reads the report at a host until it is as wanted.
func (c collector) await(host, location string, want func(gc.Report) bool) (report gc.Report) {
	c.t.Helper()
	err := wait.PollUntilContextTimeout(c.t.Context(), 200*time.Millisecond, 100*time.Second, true, func(context.Context) (bool, error) {
		var status int
		status, _, report = c.ask(host, http.MethodGet, location, "")
		return status == http.StatusOK && want(report), nil
	})
	if err != nil {
		c.t.Fatalf("%s at %s: %v; last report %+v", location, host, err, report)
	}
	return report
}

func ended(report gc.Report) bool { return report.State != gc.StateRunning }

// garbage pushes an image and deletes tag and Image, and returns the path of its manifest in the storage.
func (e *environment) garbage(t *testing.T, repository string, user authn.Authenticator) string {
	t.Helper()
	image := newImage(t)
	must(t, remote.Write(e.tag(t, repository, "lost"), image, as(t, user)...))
	namespace, stream, _ := strings.Cut(repository, "/")
	must(t, e.Images.ImageV1().ImageStreamTags(namespace).Delete(t.Context(), stream+":lost", metav1.DeleteOptions{}))
	must(t, e.Images.ImageV1().Images().Delete(t.Context(), hash(t, image).String(), metav1.DeleteOptions{}))
	hex := hash(t, image).Hex
	return filepath.Join(e.storage, "docker/registry/v2/blobs/sha256", hex[:2], hex, "data")
}

// Behaviour 86: with the shipped roles and a real Lease: dry run by default, the report on
// another replica, the second POST, a killed replica, real deletion, and the commands of the
// documentation.
func TestCollection(t *testing.T) {
	e := start(t)
	namespace := e.namespace(t)
	user, c := e.user(t, namespace, "pusher", pusher), e.collector(t)
	kept := newImage(t)
	must(t, remote.Write(e.tag(t, namespace+"/app", "kept"), kept, as(t, user)...))
	lost := e.garbage(t, namespace+"/app", user)

	replica := freeAddress(t)
	e.serveAt(t, e.collectingConfig(t, replica, "1s"), "http://"+replica, http.DefaultClient)
	doomed := freeAddress(t)
	process := e.process(t, e.collectingConfig(t, doomed, "10m"), doomed)

	var dry gc.Report
	imageapi.Eventually(t, "what was pushed is old enough", func(context.Context) error {
		if dry = c.await(e.host, c.start(replica, ""), ended); dry.State != gc.StateSucceeded || dry.CandidateCount < 3 {
			return fmt.Errorf("report %+v", dry)
		}
		return nil
	})
	if _, err := os.Stat(lost); err != nil || !dry.DryRun {
		t.Errorf("after a dry run: %v, report %+v", err, dry)
	}

	// The collection has removed links and waits before it looks again.
	location := c.start(doomed, `{"dryRun":false}`)
	c.await(e.host, location, func(r gc.Report) bool { return r.State == gc.StateRunning && r.Phase == gc.PhaseVerify })
	for _, host := range []string{e.host, replica, doomed} {
		if status, header, _ := c.ask(host, http.MethodPost, "/admin/gc", ""); status != http.StatusConflict || header.Get("Location") != location {
			t.Errorf("second POST at %s: status %d, location %q, want %q", host, status, header.Get("Location"), location)
		}
	}
	must(t, process.Process.Kill())
	if report := c.await(e.host, location, ended); report.State != gc.StateFailed || report.Message != "interrupted" {
		t.Errorf("report of the killed replica: %+v", report)
	}
	if _, err := os.Stat(lost); err != nil {
		t.Errorf("the killed collection removed a blob: %v", err)
	}

	if report := c.await(e.host, c.start(replica, `{"dryRun":false}`), ended); report.State != gc.StateSucceeded || report.DeletedBlobs < 3 {
		t.Errorf("real collection: %+v", report)
	}
	if _, err := os.Stat(lost); !os.IsNotExist(err) {
		t.Errorf("the garbage is still there: %v", err)
	}
	pull(t, e.digest(t, namespace+"/app", hash(t, kept)), user)
	testCollectionCommands(t, e, c)
}

// testCollectionCommands runs what the documentation says, one block after the other.
func testCollectionCommands(t *testing.T, e *environment, c collector) {
	page, err := os.ReadFile("../../docs/operate.md")
	must(t, err)
	_, section, found := bytes.Cut(page, []byte("## Collect garbage by hand\n"))
	if !found {
		t.Fatal("docs/operate.md has no section about collections")
	}
	section, _, _ = bytes.Cut(section, []byte("\n## "))
	blocks := regexp.MustCompile("(?s)```(?:ba)?sh\n(.*?)```").FindAllSubmatch(section, -1)
	if len(blocks) != 3 {
		t.Fatalf("%d blocks of commands, want 3", len(blocks))
	}
	// The first makes the token. Here the registry serves without TLS.
	command := exec.CommandContext(t.Context(), "bash", "-e", "-u", "-o", "pipefail")
	command.Dir = t.TempDir() // they leave a report
	command.Env = append(os.Environ(), "REGISTRY_HOST="+e.host, "REGISTRY_CA="+os.DevNull, "TOKEN="+c.token)
	commands := slices.Concat(blocks[1][1], blocks[2][1])
	command.Stdin = bytes.NewReader(bytes.ReplaceAll(commands, []byte("https://"), []byte("http://")))
	out, err := command.CombinedOutput()
	if err != nil || !strings.Contains(string(out), `"state":"Succeeded"`) || !strings.Contains(string(out), `"dryRun":false`) {
		t.Errorf("%v\n%s", err, out)
	}
}

//go:build component

package datapath

import (
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// answersOf asks a registry for a path of a probe.
func answersOf(t *testing.T, host, path string) (int, string) {
	t.Helper()
	got := send(t, http.DefaultClient, http.MethodGet, "http://"+host+path, nil, nil)
	return got.status, strings.TrimSpace(string(got.body))
}

// Behaviour operator 35: a registry whose storage is taken away is alive and not ready as long as the outage lasts,
// calls nothing missing that it cannot see, and works again by itself. The checks are set up as in its Deployment,
// only more often.
func TestStorageTakenAway(t *testing.T) {
	e := start(t)
	namespace := e.namespace(t)
	repository := namespace + "/app"
	user := e.user(t, namespace, "pusher", pusher)
	image := newImage(t)

	for name, value := range map[string]string{"ENABLED": "true", "INTERVAL": "100ms", "THRESHOLD": "3"} {
		t.Setenv("REGISTRY_HEALTH_STORAGEDRIVER_"+name, value)
	}
	single := &environment{Server: e.Server, storage: e.storage, host: freeAddress(t)}
	process := single.process(t, single.registryConfig(t, nil, "", "gc: {}"), single.host)
	tag, digest := single.tag(t, repository, "v1"), single.digest(t, repository, hash(t, image))
	must(t, remote.Write(tag, image, as(t, user)...))

	for range 2 {
		giveBack := takeAway(t, single.storage)
		for deadline := time.Now().Add(20 * time.Second); ; {
			if status, _ := answersOf(t, single.host, "/readyz"); status != http.StatusOK {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("the registry is ready without its storage")
			}
		}
		// More than the failures after which the kubelet would start the container again, at this interval.
		tick := time.NewTicker(50 * time.Millisecond)
		for range 30 {
			<-tick.C
			if status, text := answersOf(t, single.host, "/livez"); status != http.StatusOK {
				t.Fatalf("/livez without storage: %d %s", status, text)
			}
			for _, path := range []string{"/readyz", "/healthz"} {
				if status, text := answersOf(t, single.host, path); status != http.StatusServiceUnavailable || text != "storage check failed" {
					t.Fatalf("%s without storage: %d %s", path, status, text)
				}
			}
		}
		tick.Stop()
		if got := send(t, http.DefaultClient, http.MethodGet, "http://"+single.host+"/v2/"+repository+"/manifests/"+digest.DigestStr(), user, nil); got.status < 500 {
			t.Errorf("pull without storage: %d %s, want a failure of the server", got.status, got.body)
		}
		if err := remote.Write(single.tag(t, repository, "v2"), newImage(t), as(t, user)...); err == nil {
			t.Error("a push without storage succeeded")
		}

		giveBack()
		awaitReady(t, "http://"+single.host, http.DefaultClient)
		if got := hash(t, pull(t, tag, user)); got != hash(t, image) {
			t.Errorf("after the outage v1 is %s, want %s", got, hash(t, image))
		}
		must(t, remote.Write(single.tag(t, repository, "v3"), newImage(t), as(t, user)...))
	}
	if err := process.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("the process that was started is gone: %v", err)
	}
}

// takeAway makes every access to a directory fail, also for root, until the returned function is called: the name
// leads to itself.
func takeAway(t *testing.T, directory string) (giveBack func()) {
	t.Helper()
	must(t, os.Rename(directory, directory+".away"))
	must(t, os.Symlink(directory, directory))
	return func() {
		t.Helper()
		must(t, os.Remove(directory))
		must(t, os.Rename(directory+".away", directory))
	}
}

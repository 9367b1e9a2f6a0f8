package app

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"image.alauda.io/registry/pkg/registry/config"
	"image.alauda.io/registry/pkg/registry/route"

	"go.uber.org/zap"
)

// The time of alauda.kubeclient.timeout ends every call of the image API that nobody answers.
func TestCallsThatNobodyAnswersEndInTheConfiguredTime(t *testing.T) {
	over := make(chan struct{})
	hanging := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-over }))
	defer hanging.Close()
	defer close(over)
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf("{apiVersion: v1, kind: Config, current-context: c, clusters: [{name: c, cluster: {server: %q}}], contexts: [{name: c, context: {cluster: c}}]}", hanging.URL)
	if err := os.WriteFile(kubeconfig, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, _, err := config.Parse(fmt.Appendf(nil, "{version: 0.1, storage: {inmemory: {}}, auth: {openshift: {}}, alauda: {kubeconfig: %q, server: {addr: localhost}, kubeclient: {timeout: 100ms}}}", kubeconfig))
	if err != nil {
		t.Fatal(err)
	}
	deps, err := connect(t.Context(), c, nil, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	name := route.Name{Namespace: "team", Stream: "app"}
	for what, call := range map[string]func() error{
		"the stream": func() error { _, err := deps.API.Stream(t.Context(), name); return err },
		"signatures": func() error { _, err := deps.Signatures.StreamImage(t.Context(), name, "sha256:0"); return err },
	} {
		answered := make(chan error, 1)
		go func() { answered <- call() }()
		select {
		case err := <-answered:
			if err == nil {
				t.Errorf("%s: no error", what)
			}
		case <-time.After(20 * time.Second): // half a minute is what clients wait for otherwise
			t.Errorf("%s: still waiting", what)
		}
	}
}

// A registry sets space aside when it starts, while there is some: a collection on a full disk needs it.
func TestSpaceIsSetAsideAtTheStart(t *testing.T) {
	outside(t)
	storage, address := t.TempDir(), freeAddress(t)
	stop := served(t, noAuthConfig(t, storage, address), address)
	defer stop()
	deadline := time.Now().Add(20 * time.Second)
	for {
		info, err := os.Stat(filepath.Join(storage, "docker/registry/v2/_gc/reserve"))
		if err == nil && info.Size() == 1<<20 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("nothing is set aside: %v", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

package registry

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"
	kubefake "k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/clientcmd/api"
)

// Behaviour 59.
func TestFileIsReadEveryTime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	source := FileTokens{Path: path}
	for content, want := range map[string]string{"one\n": "one", "two": "two", "": "", "a b": "", "a\r\nX-Header: b": "", strings.Repeat("x", maxToken+1): ""} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := source.Token(t.Context(), false)
		if got != want || (err == nil) != (want != "") || err != nil && strings.Contains(err.Error(), "X-Header") {
			t.Errorf("%.20q: token %q, error %v", content, got, err)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := source.Token(t.Context(), false); err == nil {
		t.Error("a missing file has a token")
	}
}

func TestServiceAccountTokensAreRenewed(t *testing.T) {
	clock := newClock()
	kube := kubefake.NewClientset()
	requests := 0
	kube.PrependReactor("create", "serviceaccounts", func(action clienttesting.Action) (bool, k8sruntime.Object, error) {
		requests++
		request := action.(clienttesting.CreateAction).GetObject().(*authenticationv1.TokenRequest)
		if len(request.Spec.Audiences) != 0 || action.GetNamespace() != "ns" {
			t.Errorf("request %+v in %s", request.Spec, action.GetNamespace())
		}
		request.Status = authenticationv1.TokenRequestStatus{Token: strings.Repeat("t", requests), ExpirationTimestamp: metav1.NewTime(clock.Now().Add(20 * time.Minute))}
		return true, request, nil
	})
	source := &ServiceAccountTokens{Kube: kube, Namespace: "ns", Name: "pruner", Clock: clock}
	for i, step := range []struct {
		after time.Duration
		fresh bool
		want  string
	}{{0, false, "t"}, {9 * time.Minute, false, "t"}, {2 * time.Minute, false, "tt"}, {0, true, "ttt"}, {0, false, "ttt"}} {
		clock.Step(step.after)
		if got, err := source.Token(t.Context(), step.fresh); err != nil || got != step.want {
			t.Errorf("step %d: %q, %v, want %q", i, got, err, step.want)
		}
	}
}

func TestKubeconfigTokens(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("from-file"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		config rest.Config
		want   string
	}{
		"token":         {rest.Config{BearerToken: "plain", Impersonate: rest.ImpersonationConfig{UserName: "x"}}, "plain"},
		"file":          {rest.Config{BearerToken: "old", BearerTokenFile: file}, "from-file"},
		"password":      {rest.Config{Username: "u", Password: "p"}, ""},
		"certificate":   {rest.Config{TLSClientConfig: rest.TLSClientConfig{CertData: []byte("x")}}, ""},
		"control chars": {rest.Config{BearerToken: "a b"}, ""},
	} {
		source, err := NewKubeconfigTokens(&test.config)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, err := source.Token(t.Context(), false)
		if got != test.want || errors.Is(err, ErrNoToken) != (test.want == "") {
			t.Errorf("%s: %q, %v, want %q", name, got, err, test.want)
		}
	}
}

// A plugin is asked again when its token was refused.
func TestPluginTokens(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the plugin is a shell script")
	}
	directory := t.TempDir()
	plugin := filepath.Join(directory, "plugin")
	script := `#!/bin/sh
echo x >> "` + directory + `/calls"
n=$(wc -l < "` + directory + `/calls" | tr -d ' ')
echo '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"plugin-'$n'"}}'
`
	if err := os.WriteFile(plugin, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	source, err := NewKubeconfigTokens(&rest.Config{Host: "https://" + filepath.Base(directory), ExecProvider: &api.ExecConfig{
		Command: plugin, APIVersion: "client.authentication.k8s.io/v1", InteractiveMode: api.NeverExecInteractiveMode,
	}})
	if err != nil {
		t.Fatal(err)
	}
	for i, step := range []struct {
		fresh bool
		want  string
	}{{false, "plugin-1"}, {false, "plugin-1"}, {true, "plugin-2"}, {false, "plugin-2"}} {
		if got, err := source.Token(t.Context(), step.fresh); err != nil || got != step.want {
			t.Errorf("step %d: %q, %v, want %q", i, got, err, step.want)
		}
	}
}

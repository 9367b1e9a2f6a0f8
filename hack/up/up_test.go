package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestRefusedOptionsSayWhatToGive(t *testing.T) {
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"unknown cluster":                {[]string{"--cluster=prod"}, "must be dev or current"},
		"foreign cluster, no registry":   {[]string{"--cluster=current"}, "IMAGE_REGISTRY="},
		"no nodes":                       {[]string{"--nodes=0"}, "must be 1 to 9"},
		"no time":                        {[]string{"--timeout=0s"}, "must be positive"},
		"flag that does not exist":       {[]string{"--frobnicate"}, "frobnicate"},
		"number of nodes that is no int": {[]string{"--nodes=two"}, "nodes"},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			if code := run(t.Context(), tc.args, &stdout, &stderr); code != 2 {
				t.Errorf("exit code %d, want 2", code)
			}
			if !strings.Contains(stderr.String(), tc.want) {
				t.Errorf("%q does not say %q", stderr.String(), tc.want)
			}
		})
	}
}

func TestOverlayTakesEveryImageFromTheGivenRegistry(t *testing.T) {
	got := overlay("registry.example.com/infra")
	golden := filepath.Join("testdata", "overlay.yaml")
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if strings.Contains(got, "localhost/") {
		t.Error("an image still comes from localhost")
	}
}

func TestHealthyIsTheDocumentedStateOfTheStoredSpec(t *testing.T) {
	conditions := func(available, progressing, degraded string) string {
		return `[{"type":"Available","status":"` + available + `","reason":"A"},{"type":"Progressing","status":"` + progressing +
			`","reason":"P"},{"type":"Degraded","status":"` + degraded + `","reason":"D"}]`
	}
	for name, tc := range map[string]struct {
		config string
		want   bool
		state  string
	}{
		"healthy":        {`{"metadata":{"generation":3},"status":{"observedGeneration":3,"conditions":` + conditions("True", "False", "False") + `}}`, true, ""},
		"older spec":     {`{"metadata":{"generation":4},"status":{"observedGeneration":3,"conditions":` + conditions("True", "False", "False") + `}}`, false, "takes up the change"},
		"not available":  {`{"metadata":{"generation":3},"status":{"observedGeneration":3,"conditions":` + conditions("False", "False", "False") + `}}`, false, "Available=False/A"},
		"progressing":    {`{"metadata":{"generation":3},"status":{"observedGeneration":3,"conditions":` + conditions("True", "True", "False") + `}}`, false, "Progressing=True/P"},
		"degraded":       {`{"metadata":{"generation":3},"status":{"observedGeneration":3,"conditions":` + conditions("True", "False", "True") + `}}`, false, "Degraded=True/D"},
		"nothing so far": {`{"metadata":{"generation":1},"status":{"observedGeneration":1}}`, false, "not reported yet"},
	} {
		t.Run(name, func(t *testing.T) {
			got, state, err := healthy([]byte(tc.config))
			if err != nil || got != tc.want || !strings.Contains(state, tc.state) {
				t.Errorf("got %v %q %v, want %v %q", got, state, err, tc.want, tc.state)
			}
		})
	}
	if _, _, err := healthy([]byte("{")); err == nil {
		t.Error("truncated JSON is no error")
	}
}

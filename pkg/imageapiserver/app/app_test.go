package app

import (
	"bytes"
	"strings"
	"testing"
)

func TestCommandLine(t *testing.T) {
	cases := []struct {
		name string
		args []string
		code int
		want string
	}{
		{"version", []string{"version"}, 0, "go1."},
		{"version of something", []string{"version", "client"}, 2, "client"},
		{"help names the storage flag", []string{"--help"}, 0, "--image-storage"},
		{"help names the webhook", []string{"--help"}, 0, "resolves short image names"},
		{"webhook port out of range", []string{"--webhook-port=70000"}, 2, "--webhook-port=70000"},
		{"webhook port is accepted", []string{"--webhook-port=9443", "--config=/nonexistent/config.yaml"}, 1, "/nonexistent/config.yaml"},
		{"unknown flag", []string{"--no-such-flag"}, 2, "no-such-flag"},
		{"stray argument", []string{"serve"}, 2, "serve"},
		{"unknown storage", []string{"--image-storage=files"}, 2, "neither crd nor etcd"},
		{"etcd without servers", []string{"--image-storage=etcd"}, 2, "etcd-servers"},
		{"etcd servers without etcd", []string{"--etcd-servers=http://127.0.0.1:1"}, 2, "--image-storage=etcd"},
		{"missing configuration", []string{"--config=/nonexistent/config.yaml"}, 1, "/nonexistent/config.yaml"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			code := Run(t.Context(), c.args, &stdout, &stderr)
			if code != c.code {
				t.Errorf("exit code %d, want %d; stderr: %s", code, c.code, stderr.String())
			}
			if out := stdout.String() + stderr.String(); !strings.Contains(out, c.want) {
				t.Errorf("output does not contain %q: %s", c.want, out)
			}
		})
	}
}

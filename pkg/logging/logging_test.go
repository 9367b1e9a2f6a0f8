package logging

import (
	"bytes"
	"encoding/json"
	"errors"
	"log"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"
	"k8s.io/klog/v2"
)

type line struct {
	Level  string `json:"level"`
	Logger string `json:"logger"`
	Msg    string `json:"msg"`
	Error  string `json:"error"`
}

func lines(t *testing.T, out *bytes.Buffer) []line {
	t.Helper()
	var got []line
	for text := range strings.Lines(out.String()) {
		var l line
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Fatalf("line %q is not JSON: %v", text, err)
		}
		got = append(got, l)
	}
	return got
}

func TestEveryLoggerOfTheProcessEndsInOneStream(t *testing.T) {
	var out bytes.Buffer
	logger := setup("node-ca", 2, &out)

	logger.Info("from zap")
	klog.V(2).InfoS("from klog")
	logrus.WithError(errors.New("boom")).Warn("from logrus")
	log.Print("from log")

	want := []line{
		{"info", "node-ca", "from zap", ""},
		{"info", "node-ca", "from klog", ""},
		{"warn", "node-ca.distribution", "from logrus", "boom"},
		{"warn", "node-ca", "from log", ""},
	}
	got := lines(t, &out)
	if len(got) != len(want) {
		t.Fatalf("got %d lines, want %d: %s", len(got), len(want), out.String())
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("line %d: got %+v, want %+v", i, got[i], want[i])
		}
	}
}

func TestVerbosityChangesAtRunTime(t *testing.T) {
	var out bytes.Buffer
	logger := setup("operator", 2, &out)

	klog.V(4).InfoS("hidden")
	logrus.Debug("hidden")
	logger.SetVerbosity(4)
	klog.V(4).InfoS("shown by klog")
	logrus.Debug("shown by logrus")
	logger.SetVerbosity(2)
	klog.V(4).InfoS("hidden")

	got := lines(t, &out)
	want := []line{
		{"debug", "operator", "shown by klog", ""},
		{"debug", "operator.distribution", "shown by logrus", ""},
	}
	if len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Fatalf("got %+v, want %+v", got, want)
	}
}

// From verbosity 8 on client-go logs the bodies of requests, which hold tokens.
func TestNoVerbosityMakesLibrariesLogBodies(t *testing.T) {
	var out bytes.Buffer
	logger := setup("operator", 10, &out)
	for range 2 {
		klog.V(7).InfoS("shown")
		klog.V(8).InfoS("a body")
		logger.SetVerbosity(8)
	}
	for _, got := range lines(t, &out) {
		if got.Msg != "shown" {
			t.Errorf("logged %q", got.Msg)
		}
	}
}

package logging

import (
	"bytes"
	"encoding/json"
	"errors"
	"log"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"
	"go.uber.org/zap/zapcore"
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
	logger := setup(Options{Component: "node-ca", Verbosity: 2}, &out)

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
	logger := setup(Options{Component: "operator", Verbosity: 2}, &out)

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
	logger := setup(Options{Component: "operator", Verbosity: 10}, &out)
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

func TestWhatIsChosenShapesTheLines(t *testing.T) {
	var out bytes.Buffer
	fields := map[string]any{"zone": "b", "cluster": "a"}
	logger := setup(Options{Component: "registry", TimeKey: "ts", Fields: fields}, &out)
	logger.Info("hello")
	klog.InfoS("from klog")
	for line := range strings.Lines(out.String()) {
		if !strings.HasPrefix(line, `{"level":"info","ts":"`) || !strings.Contains(line, `"cluster":"a","zone":"b"`) {
			t.Errorf("line %s", line)
		}
	}
	out.Reset()
	setup(Options{Component: "registry", Text: true, Fields: fields}, &out).Info("hello")
	if line := out.String(); strings.HasPrefix(line, "{") || !strings.Contains(line, "\tinfo\tregistry\thello\t") {
		t.Errorf("text %q", line)
	}
}

func TestLevelsAboveInformation(t *testing.T) {
	for least, want := range map[zapcore.Level]string{zapcore.InfoLevel: "info warn error", zapcore.WarnLevel: "warn error", zapcore.ErrorLevel: "error"} {
		var out bytes.Buffer
		logger := setup(Options{Component: "registry", Least: least}, &out)
		logger.Info("x")
		logger.Warn("x")
		logger.Error("x")
		var got []string
		for _, l := range lines(t, &out) {
			got = append(got, l.Level)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("least %s: %v, want %s", least, got, want)
		}
	}
}

func TestTheStorageEngineIsQuieterThanItWants(t *testing.T) {
	var out bytes.Buffer
	logger := setup(Options{Component: "registry"}, &out)
	write := func() {
		logrus.Info("a step")
		logrus.Warnf("looking up blob with canonical target: %s -> %s", "a", "b")
		logrus.WithField("http.request.header", "a secret").Warn("trouble")
	}
	write()
	logger.SetVerbosity(4)
	write()
	got := lines(t, &out)
	want := []line{{"warn", "registry.distribution", "trouble", ""}, {"debug", "registry.distribution", "a step", ""}, {"warn", "registry.distribution", "trouble", ""}}
	if len(got) != 3 || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] {
		t.Errorf("got %+v", got)
	}
	if strings.Contains(out.String(), "a secret") {
		t.Error("a field of the engine was logged")
	}
}

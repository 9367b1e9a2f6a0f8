package cli

import (
	"bytes"
	"context"
	"strings"
	"testing"
)

func TestWrongCommandLinesAreExplainedInOneLine(t *testing.T) {
	for line, code := range map[string]int{
		"up --nodes 0x":              exitUsage,
		"up --nodes -1":              exitUsage,
		"up --nodes 41":              exitUsage,
		"up --registry-port 70000":   exitUsage,
		"up --no-such-flag":          exitUsage,
		"nothing":                    exitUsage,
		"status --repo /nonexistent": exitFailed,
		"stop-node":                  exitFailed,
		"restart":                    exitFailed,
		"hold master":                exitUsage,
		"forward --port 0":           exitUsage,
	} {
		var stdout, stderr bytes.Buffer
		got := Run(context.Background(), strings.Fields(line), &stdout, &stderr)
		if got != code || strings.Count(stderr.String(), "\n") != 1 {
			t.Errorf("%s: exit code %d, want %d, and said %q", line, got, code, stderr.String())
		}
	}
}

func TestHelpNamesEveryCommandButTheDaemons(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if code := Run(context.Background(), []string{"--help"}, &stdout, &stderr); code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr.String())
	}
	for command, shown := range map[string]bool{"up": true, "down": true, "status": true, "exec": true, "load": true, "logs": true, "build": true,
		"stop-node": true, "start-node": true, "add-node": true, "remove-node": true,
		"restart": true, "stop": true, "start": true, "pause": true, "resume": true, "cut-node": true, "heal-node": true, "hold": false, "provision": false} {
		if got := strings.Contains(stdout.String(), "\n  "+command+" "); got != shown {
			t.Errorf("help shows %s: %v, want %v", command, got, shown)
		}
	}
}

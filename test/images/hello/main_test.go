package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
)

func TestPrintsOneLineAndWaitsUntilItIsStopped(t *testing.T) {
	ctx, stop := context.WithCancel(context.Background())
	stop()
	var out bytes.Buffer
	code, err := run(ctx, options{text: "hello", exit: -1}, &out)
	if code != 0 || err != nil || out.String() != "hello\n" {
		t.Errorf("got code %d, error %v, output %q", code, err, out.String())
	}
}

func TestFlagsPrintAFileOrExit(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("content"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		options options
		code    int
		output  string
		fails   bool
	}{
		{options{file: file, exit: -1}, 0, "content", false},
		{options{file: file + "x", exit: -1}, 1, "", true},
		{options{text: "bye", exit: 3}, 3, "bye\n", false},
	} {
		var out bytes.Buffer
		code, err := run(context.Background(), test.options, &out)
		if code != test.code || out.String() != test.output || (err != nil) != test.fails {
			t.Errorf("%+v: got code %d, error %v, output %q", test.options, code, err, out.String())
		}
	}
}

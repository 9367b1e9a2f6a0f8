package memlimit

import (
	"os"
	"path/filepath"
	"testing"
)

func TestFromContainer(t *testing.T) {
	for name, test := range map[string]struct {
		file, content string
		want          int64
	}{
		"version 2":              {files[0], "1000\n", 900},
		"version 2, no limit":    {files[0], "max\n", 0},
		"version 1":              {files[1], "2000\n", 1800},
		"version 1, no limit":    {files[1], "9223372036854771712\n", 0},
		"negative":               {files[0], "-1\n", 0},
		"empty":                  {files[0], "", 0},
		"no control group there": {"elsewhere", "1000", 0},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			path := filepath.Join(root, test.file)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(test.content), 0o600); err != nil {
				t.Fatal(err)
			}
			if got := fromContainer(root); got != test.want {
				t.Errorf("%d, want %d", got, test.want)
			}
		})
	}
}

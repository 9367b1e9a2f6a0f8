package options

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

func parse(t *testing.T, args ...string) (Options, error) {
	t.Helper()
	opts := Defaults()
	flags := pflag.NewFlagSet("images", pflag.ContinueOnError)
	opts.AddFlags(flags)
	if err := flags.Parse(args); err != nil {
		return opts, err
	}
	return opts, opts.Validate()
}

// Behaviours 2 and 5.
func TestDefaultsAndDocumentedInvocations(t *testing.T) {
	opts, err := parse(t)
	if err != nil || opts.Confirm || opts.KeepTagRevisions != 3 || opts.KeepYoungerThan.Minutes() != 60 || !opts.All || opts.PruneRegistry || opts.NumWorkers != 5 {
		t.Errorf("defaults %+v, error %v", opts, err)
	}
	for _, line := range []string{
		"--keep-tag-revisions=5 --keep-younger-than=72h --confirm",
		"--whitelist=^cpaas-system/.* --confirm",
		"--confirm --prune-registry",
		"--confirm=true --keep-tag-revisions=3 --keep-younger-than=1h0m0s --ignore-invalid-refs=false --prune-registry=false --registry-url=https://image-registry.image-registry-system.svc:5000 --retries=5",
	} {
		if _, err := parse(t, strings.Fields(line)...); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
	if opts, err := parse(t, "--num-workers=0"); err != nil || opts.NumWorkers != 5 {
		t.Errorf("no workers: %d, %v", opts.NumWorkers, err)
	}
}

// Flags that are documented and not built yet say so.
func TestUnavailableFlagsSaySo(t *testing.T) {
	for _, flag := range []string{
		"--metrics-push-url=http://gateway",
	} {
		name, _, _ := strings.Cut(flag, "=")
		if _, err := parse(t, flag); err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "not available in this version") {
			t.Errorf("%s: %v", flag, err)
		}
	}
}

// Behaviours 3 and 44.
func TestOverSizeModeDecidesAlone(t *testing.T) {
	for _, line := range []string{"--prune-over-size-limit", "--prune-over-size-limit=false", "--prune-over-size-limit=false --keep-tag-revisions=3"} {
		if opts, err := parse(t, strings.Fields(line)...); err != nil || opts.KeepTagRevisions != 3 || opts.KeepYoungerThan != time.Hour {
			t.Errorf("%s: %+v, %v, want the defaults kept", line, opts, err)
		}
	}
	for _, keep := range []string{"--keep-tag-revisions=3", "--keep-younger-than=60m"} {
		if _, err := parse(t, "--prune-over-size-limit", keep); err == nil || !strings.Contains(err.Error(), "--prune-over-size-limit") {
			t.Errorf("with %s: %v, want an error that names --prune-over-size-limit", keep, err)
		}
	}
}

// Behaviour 3.
func TestMistakesNameTheirFlag(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(empty, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for line, flag := range map[string]string{
		"--keep-tag-revisions=-1":                                  "--keep-tag-revisions",
		"--keep-younger-than=-1m":                                  "--keep-younger-than",
		"--force-insecure --certificate-authority=" + empty:        "--force-insecure",
		"--certificate-authority=" + empty:                         "--certificate-authority",
		"--certificate-authority=/does/not/exist":                  "--certificate-authority",
		"--certificate-authority=x --registry-url=http://registry": "--certificate-authority",
		"--whitelist=(":                                            "--whitelist",
		"--registry-url=ftp://h":                                   "--registry-url",
		"--config-map=name":                                        "--config-map",
		"--config-map=a/b/c":                                       "--config-map",
		"--match-hosts=some":                                       "--match-hosts",
		"--output=xml":                                             "--output",
		"--max-delete-percent=101":                                 "--max-delete-percent",
		"--max-delete-percent=0":                                   "--max-delete-percent",
		"--retries=-1":                                             "--retries",
		"--as-service-account=pruner":                              "--as-service-account",
		"--as-service-account=a/b --registry-token-file=x":         "--as-service-account",
		"--reference-grace=1m":                                     "--reference-grace",
		"--chunk-size=0":                                           "--chunk-size",
		"--keep-tag-revisions=x":                                   "keep-tag-revisions",
	} {
		if _, err := parse(t, strings.Fields(line)...); err == nil || !strings.Contains(err.Error(), flag) {
			t.Errorf("%s: error %v, want one that names %s", line, err, flag)
		}
	}
}

// Behaviour 4.
func TestRegistryURL(t *testing.T) {
	for text, want := range map[string]string{
		"host": "https://host", "host:5000": "https://host:5000", "[fd12::1]:80/": "https://[fd12::1]:80",
		"http://h": "http://h", "https://h/": "https://h",
	} {
		got, err := ParseRegistryURL(text)
		if err != nil || got.String() != want {
			t.Errorf("%q: %v, %v, want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"ftp://h", "httpss://h", "h/path", "h?x=1", "https:///", ":5000", "bad url", "[fd12::1", "", "https://u:p@h", "h#f", "h:0", "h:99999"} {
		if got, err := ParseRegistryURL(text); err == nil {
			t.Errorf("%q: %v, want an error", text, got)
		}
	}
}

func FuzzParseRegistryURL(f *testing.F) {
	f.Add("host:5000")
	f.Add("[fd12::1]:80/")
	f.Fuzz(func(t *testing.T, text string) {
		if parsed, err := ParseRegistryURL(text); err == nil && (parsed.Hostname() == "" || parsed.Path != "") {
			t.Errorf("%q: accepted as %v", text, parsed)
		}
	})
}

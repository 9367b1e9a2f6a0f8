package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"image.alauda.io/registry/pkg/pruner/references"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", file)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: got\n%s\nwant\n%s", path, got, want)
	}
}

func id(letter string) string { return "sha256:" + strings.Repeat(letter, 64) }

// fill reports one of each kind of outcome.
func fill(t *testing.T, r *Report) {
	t.Helper()
	started := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	r.StartTime, r.CompletionTime = metav1.NewTime(started), metav1.NewTime(started.Add(90*time.Second))
	r.Options = map[string]string{"keepTagRevisions": "3", "keepYoungerThan": "1h0m0s"}
	r.Snapshot = Snapshot{Images: 12, ImageStreams: 3, Roots: map[string]int{"pods": 7, "jobs": 1}, References: 9}
	r.InvalidReferences = []references.Invalid{{
		Kind: "Pod", Namespace: "team-a", Name: "typo", Path: "spec.containers[0].image", Value: "a b", Error: "not an image reference",
	}}
	action := Deleted
	if r.DryRun {
		action = WouldDelete
	}
	third, fourth := 3, 4
	items := []Item{
		{Action: action, Kind: KindTagRevision, Namespace: "team-a", Name: "demo", Tag: "v1", Revision: &third, Digest: id("a"), Reason: "old and unused", Age: 12 * 24 * time.Hour},
		{Action: Kept, Kind: KindTagRevision, Namespace: "team-a", Name: "demo", Tag: "v1", Revision: &fourth, Digest: id("b"), Reason: "used by Pod team-a/web", Age: 90 * time.Minute},
		{Action: Failed, Kind: KindImageStream, Namespace: "team-b", Name: "other", Error: "update status:\n\tthe server said no"},
		{Action: action, Kind: KindImage, Digest: id("c"), SizeBytes: 4096, Reason: "in no stream and unused"},
		{Action: Skipped, Kind: KindImage, Digest: id("d"), SizeBytes: 1, Reason: "it was taken up or changed since"},
	}
	r.StreamUpdated()
	for _, item := range items {
		if err := r.Add(item); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Finish(); err != nil {
		t.Fatal(err)
	}
}

// Behaviour 8.
func TestForms(t *testing.T) {
	for _, format := range []string{"text", "json", "yaml", "jsonl"} {
		for _, dryRun := range []bool{false, true} {
			var out bytes.Buffer
			fill(t, New(&out, format, dryRun))
			name := "confirmed." + format
			if dryRun {
				name = "dryrun." + format
			}
			golden(t, name, out.Bytes())
		}
	}
}

func TestNothingToPrune(t *testing.T) {
	var out bytes.Buffer
	if err := New(&out, "text", true).Finish(); err != nil || out.String() != "Summary: nothing to prune\n" {
		t.Errorf("printed %q, error %v", out.String(), err)
	}
}

// Behaviour 8.
func TestTerminationMessage(t *testing.T) {
	r := New(&bytes.Buffer{}, "text", false)
	fill(t, r)
	message, err := r.Termination(errors.New("1 changes failed"))
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "termination.json", message)
}

func TestTerminationMessageFits(t *testing.T) {
	r := New(&bytes.Buffer{}, "text", false)
	for i := range 100 {
		item := Item{Action: Failed, Kind: KindImage, Digest: id("a"), Error: fmt.Sprint(i, strings.Repeat("\"ü\x00", 1000))}
		if err := r.Add(item); err != nil {
			t.Fatal(err)
		}
	}
	message, err := r.Termination(errors.New(strings.Repeat("<", 5000)))
	if err != nil || len(message) > maxTermination || !json.Valid(message) {
		t.Fatalf("%d bytes, error %v: %s", len(message), err, message)
	}
	var decoded termination
	if err := json.Unmarshal(message, &decoded); err != nil || decoded.Failed != 100 || len(decoded.Errors) == 0 {
		t.Errorf("%+v, error %v: want the number of failures and the first errors", decoded, err)
	}
}

func TestAge(t *testing.T) {
	for age, want := range map[time.Duration]string{
		-time.Second: "0s", 59 * time.Second: "59s", 61 * time.Second: "1m", 25 * time.Hour: "1d", 23 * time.Hour: "23h",
	} {
		if got := Age(age); got != want {
			t.Errorf("%s: %q, want %q", age, got, want)
		}
	}
}

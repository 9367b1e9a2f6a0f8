package online

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/registry/gc"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func packed(t testing.TB, raw []byte) string {
	t.Helper()
	var buffer bytes.Buffer
	writer := gzip.NewWriter(&buffer)
	if _, err := writer.Write(raw); err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(buffer.Bytes())
}

func TestDamagedReportsAreNamedAndBounded(t *testing.T) {
	const id = `"id":"3c7ad2d2-93e7-4b1b-8e0a-1d1d5f0d8a11"`
	whole := packed(t, []byte(`{`+id+`,"state":"Succeeded"}`))
	for name, text := range map[string]string{
		"empty":         "",
		"no base64":     "?" + whole,
		"no gzip":       base64.StdEncoding.EncodeToString([]byte("{}")),
		"cut":           whole[:len(whole)/8*4],
		"no JSON":       packed(t, []byte("{")),
		"no object":     packed(t, []byte("[1]")),
		"no id":         packed(t, []byte(`{"state":"Running"}`)),
		"bad id":        packed(t, []byte(`{"id":"../x","state":"Running"}`)),
		"unknown state": packed(t, []byte(`{`+id+`,"state":"Perhaps"}`)),
		"bomb":          packed(t, bytes.Repeat([]byte(" "), 64<<20)),
		"too long":      strings.Repeat("A", maxAnnotation+1),
		"wrong type":    packed(t, []byte(`{`+id+`,"state":"Running","candidates":"all"}`)),
	} {
		c := newCluster(t)
		lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: imagev1.GCLeaseName, Annotations: map[string]string{imagev1.GCReportAnnotation: text}}}
		if _, err := c.leases.Create(t.Context(), lease, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		a := c.replica("a")
		_, err := a.Report(t.Context(), "3c7ad2d2-93e7-4b1b-8e0a-1d1d5f0d8a11")
		var damaged *DamagedError
		if !errors.As(err, &damaged) {
			t.Errorf("%s: %v, want that it is damaged", name, err)
		}
		c.start(a, Task{}) // replaces it
		a.Stop()
	}
	if _, err := decode(whole); err != nil {
		t.Errorf("the whole one: %v", err)
	}
}

func TestTheLargestReportFits(t *testing.T) {
	report := gc.Report{ID: "3c7ad2d2-93e7-4b1b-8e0a-1d1d5f0d8a11", State: gc.StateFailed, Message: strings.Repeat("\x01", 1<<20)}
	state := uint64(1)
	random := func() string {
		var text strings.Builder
		for range 4 {
			state = state*6364136223846793005 + 1442695040888963407
			fmt.Fprintf(&text, "%016x", state)
		}
		return text.String()
	}
	for range 5000 {
		report.Candidates = append(report.Candidates, gc.Candidate{Digest: "sha256:" + random(), Size: 1 << 40})
		report.RepositoryNames = append(report.RepositoryNames, random()+"/"+random()+random())
		report.Errors = append(report.Errors, strings.Repeat(random()+"\xff\x00", 20))
	}
	text, err := encode(report)
	if err != nil || len(text) > maxAnnotation {
		t.Fatalf("%d bytes, %v", len(text), err)
	}
	back, err := decode(text)
	if err != nil {
		t.Fatal(err)
	}
	if len(back.Candidates) == 0 || len(back.Candidates) > maxCandidates || len(back.RepositoryNames) == 0 || len(back.RepositoryNames) > maxNames || len(back.Errors) == 0 || len(back.Errors) > maxErrors {
		t.Errorf("%d candidates, %d names, %d errors", len(back.Candidates), len(back.RepositoryNames), len(back.Errors))
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("")
	f.Add(packed(f, []byte(`{"id":"3c7ad2d2-93e7-4b1b-8e0a-1d1d5f0d8a11","state":"Running","candidates":[{"digest":"x","size":1}]}`)))
	f.Fuzz(func(t *testing.T, text string) {
		report, err := decode(text)
		if err != nil {
			var damaged *DamagedError
			if !errors.As(err, &damaged) {
				t.Fatal(err)
			}
			return
		}
		if _, err := encode(report); err != nil {
			t.Fatal(err)
		}
	})
}

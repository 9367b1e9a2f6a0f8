package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// Behaviours 40, 51 and 55: every answer to a request for a collection.
func TestAnswersToCollections(t *testing.T) {
	var answer func(w http.ResponseWriter)
	registry := newFake(t, func(w http.ResponseWriter, r *http.Request) { answer(w) })
	client := newClient(t, registry.URL, nil)
	task := Task{DryRun: true, MinAge: "2h0m0s"}

	answer = func(w http.ResponseWriter) {
		w.WriteHeader(202)
		fmt.Fprint(w, `{"id":"4f-1","state":"Running","phase":"metadata","dryRun":true,"future":1}`)
	}
	started, err := client.StartCollection(t.Context(), task)
	if err != nil || started.ID != "4f-1" || registry.seen()[0] != "POST /admin/gc" || registry.bodies[0] != `{"dryRun":true,"minAge":"2h0m0s","allowEmptyMetadata":false}` {
		t.Fatalf("started %+v, error %v, request %v %v", started, err, registry.seen(), registry.bodies)
	}
	for name, test := range map[string]struct {
		status int
		body   string
		check  func(error) bool
	}{
		"running": {409, `{"errors":[{"code":"UNSUPPORTED","message":"a collection is running","detail":{"id":"9-a"}}]}`, func(err error) bool {
			var running *RunningError
			return errors.As(err, &running) && running.ID == "9-a"
		}},
		"running, hostile id": {409, `{"errors":[{"detail":{"id":"../../v2"}}]}`, func(err error) bool {
			var answer *AnswerError
			return errors.As(err, &answer) && answer.Status == 409
		}},
		"too old":   {404, "404 page not found", func(err error) bool { return errors.Is(err, ErrNoCollections) }},
		"read-only": {405, `{"errors":[{"code":"UNSUPPORTED","message":"the registry is in read-only mode"}]}`, func(err error) bool { return errors.Is(err, ErrReadOnly) }},
		"forbidden": {403, `{"errors":[{"code":"DENIED","message":"no"}]}`, func(err error) bool { return strings.Contains(err.Error(), "403 DENIED: no") }},
		"no report": {202, `[]`, func(err error) bool { return strings.Contains(err.Error(), "not a report") }},
		"no id":     {202, `{"state":"Running"}`, func(err error) bool { return strings.Contains(err.Error(), "no id") }},
		"no state":  {202, `{"id":"1","state":"Walking"}`, func(err error) bool { return strings.Contains(err.Error(), "no known state") }},
	} {
		answer = func(w http.ResponseWriter) {
			w.WriteHeader(test.status)
			fmt.Fprint(w, test.body)
		}
		before := len(registry.seen())
		if _, err := client.StartCollection(t.Context(), task); err == nil || !test.check(err) || len(registry.seen()) != before+1 {
			t.Errorf("%s: error %v after %d requests", name, err, len(registry.seen())-before)
		}
	}
	failures := 0
	answer = func(w http.ResponseWriter) {
		if failures++; failures < 4 {
			refuse(w, 503, "UNAVAILABLE", "the lease cannot be written")
			return
		}
		w.WriteHeader(202)
		fmt.Fprint(w, `{"id":"2","state":"Running"}`)
	}
	if got, err := client.StartCollection(t.Context(), task); err != nil || got.ID != "2" {
		t.Errorf("after 503: %+v, %v", got, err)
	}
	answer = func(w http.ResponseWriter) { refuse(w, 404, "UNSUPPORTED", "no such collection") }
	if _, err := client.Collection(t.Context(), "2"); !errors.Is(err, ErrGone) {
		t.Errorf("report of an old collection: %v", err)
	}
}

func FuzzParseCollection(f *testing.F) {
	f.Add([]byte(`{"id":"1","state":"Failed","message":"x","candidates":[{"digest":"sha256:a","size":1}],"errors":["e"]}`))
	f.Add([]byte(`{"id":"1","state":"Running","repositoryNames":["a\nb"]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		report, err := parseCollection(request{}, &answer{body: raw})
		if err != nil {
			return
		}
		for _, text := range append(append([]string{report.Message, report.ID, report.Phase}, report.Errors...), report.RepositoryNames...) {
			if strings.ContainsAny(text, "\r\n\t") {
				t.Errorf("%q is not one line", text)
			}
		}
		if _, err := json.Marshal(report); err != nil {
			t.Error(err)
		}
	})
}

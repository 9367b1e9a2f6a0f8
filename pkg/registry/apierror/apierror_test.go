package apierror

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func write(method string, refusal *Error) *httptest.ResponseRecorder {
	recorder := httptest.NewRecorder()
	recorder.Header().Set("ETag", `"old"`)
	Write(recorder, httptest.NewRequest(method, "/v2/", nil), "id-1", refusal)
	return recorder
}

// Behaviour 4.
func TestWriteSendsOneDocument(t *testing.T) {
	answer := write(http.MethodGet, New(http.StatusNotFound, CodeNameUnknown, "no %s", "stream").WithDetail("a/b"))
	if answer.Code != http.StatusNotFound || answer.Header().Get("Content-Type") != "application/json" {
		t.Errorf("status %d, type %q", answer.Code, answer.Header().Get("Content-Type"))
	}
	if answer.Header().Get("ETag") != "" {
		t.Error("a refusal still has the ETag of the content")
	}
	want := `{"errors":[{"code":"NAME_UNKNOWN","message":"no stream","detail":"a/b"}]}`
	if answer.Body.String() != want {
		t.Errorf("body %s, want %s", answer.Body, want)
	}
}

// Behaviour 4.
func TestHeadRefusalHasNoBody(t *testing.T) {
	answer := write(http.MethodHead, New(http.StatusNotFound, CodeBlobUnknown, "no blob"))
	if answer.Code != http.StatusNotFound || answer.Body.Len() != 0 {
		t.Errorf("status %d, %d bytes of body", answer.Code, answer.Body.Len())
	}
}

func TestInternalErrorsStayInside(t *testing.T) {
	refusal := From(fmt.Errorf("open /registry: %w", errors.New("secret path")))
	answer := write(http.MethodGet, refusal)
	if answer.Code != http.StatusInternalServerError || strings.Contains(answer.Body.String(), "secret") {
		t.Errorf("status %d, body %s", answer.Code, answer.Body)
	}
	var body struct {
		Errors []struct{ Detail map[string]string }
	}
	if err := json.Unmarshal(answer.Body.Bytes(), &body); err != nil || body.Errors[0].Detail["requestID"] != "id-1" {
		t.Errorf("body %s, want the request id in the detail (%v)", answer.Body, err)
	}
	if !strings.Contains(refusal.Error(), "secret path") {
		t.Errorf("%q hides the cause from the log", refusal)
	}
}

func TestFromFindsWrappedRefusals(t *testing.T) {
	inner := Unavailable(errors.New("timeout"), "storage is not usable")
	if From(fmt.Errorf("stat: %w", inner)) != inner {
		t.Error("a wrapped refusal was not found")
	}
	if got := inner.Header.Get("Retry-After"); got != "5" {
		t.Errorf("Retry-After %q, want 5", got)
	}
	if got := inner.WithRetryAfter(1100 * time.Millisecond).Header.Get("Retry-After"); got != "2" {
		t.Errorf("Retry-After %q, want 2", got)
	}
}

// The clients that push begin with HEAD, and all that they could tell their user was a status.
func TestRefusedHeadsSayWhyInAWarning(t *testing.T) {
	for name, tc := range map[string]struct {
		refusal *Error
		want    string
	}{
		"denied":               {New(http.StatusForbidden, CodeDenied, "user %q cannot get this", "eve"), `299 - "user \"eve\" cannot get this"`},
		"text of somebody":     {New(http.StatusForbidden, CodeDenied, "a\r\nSet-Cookie: b \\ é"), `299 - "a??Set-Cookie: b \\ ?"`},
		"what is not there":    {New(http.StatusNotFound, CodeBlobUnknown, "no such blob"), ""},
		"long texts are short": {New(http.StatusForbidden, CodeDenied, "%s", strings.Repeat("x", 1<<16)), `299 - "` + strings.Repeat("x", maxWarning) + `"`},
	} {
		t.Run(name, func(t *testing.T) {
			answer := httptest.NewRecorder()
			Write(answer, httptest.NewRequest(http.MethodHead, "/", nil), "", tc.refusal)
			if got := answer.Header().Get("Warning"); got != tc.want {
				t.Errorf("Warning: %s, want %s", got, tc.want)
			}
			if answer.Body.Len() != 0 {
				t.Errorf("an answer to HEAD has a body: %s", answer.Body)
			}
		})
	}
}

package registry

import (
	"net/http"
	"strings"
	"testing"
)

// What answers may be no registry but something that repeats what it was asked. The token must not get into
// errors, and from there into logs and reports.
func TestAnswersThatRepeatTheToken(t *testing.T) {
	registry := newFake(t, func(w http.ResponseWriter, r *http.Request) {
		token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		if r.Method == http.MethodDelete {
			w.Header().Set("Location", "https://"+token+".example.com/")
			w.WriteHeader(http.StatusFound)
			return
		}
		refuse(w, http.StatusBadRequest, "DENIED", "headers: Authorization: Bearer "+token)
	})
	client := newClient(t, registry.URL, nil)
	_, deleteErr := client.DeleteBlob(t.Context(), "a/b", layer)
	_, readErr := client.Collection(t.Context(), "1")
	for _, err := range []error{deleteErr, readErr} {
		if err == nil || strings.Contains(err.Error(), "token-0") {
			t.Errorf("error %v", err)
		}
	}
	if readErr != nil && !strings.Contains(readErr.Error(), "DENIED") {
		t.Errorf("error %v", readErr)
	}
}

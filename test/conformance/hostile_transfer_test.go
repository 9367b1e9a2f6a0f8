package conformance

import (
	"io"
	"net/http"
	"testing"
	"time"
)

// Behaviour 94: only a pause ends an upload, not its length, and its answer arrives.
func TestUploadMayTakeLongerThanTheLongestPause(t *testing.T) {
	const pause = time.Second
	e := start(t, "ALAUDA=, http: {iotimeout: "+pause.String()+"}")
	location := e.URL + e.startUpload()
	body, source := io.Pipe()
	go func() {
		for started := time.Now(); time.Since(started) < 2*pause; {
			if _, err := source.Write([]byte("x")); err != nil {
				return
			}
			<-time.After(pause / 20)
		}
		_ = source.Close()
	}()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPatch, location, body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+devToken)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusAccepted {
		t.Errorf("status %d", answer.StatusCode)
	}
}

package secondregistry

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

func get(t *testing.T, client *http.Client, url string, login func(*http.Request)) (*http.Response, []byte) {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", v1.MediaTypeImageIndex)
	if login != nil {
		login(request)
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, body
}

func TestWhatWasPushedIsServedOverTrustedTLS(t *testing.T) {
	r := Start(t, Options{TLS: true})
	amd := r.PushImage(t, "team/app", "", Image{})
	arm := r.PushImage(t, "team/app", "", Image{Platform: v1.Platform{Architecture: "arm64"}, Docker: true})
	index := r.PushIndex(t, "team/app", "latest", amd, arm, r.PushAttestation(t, "team/app", amd))
	if n := len(r.Requests()); n != 0 {
		t.Errorf("pushing was counted as %d requests, want none", n)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(r.CA)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	defer client.CloseIdleConnections()
	response, body := get(t, client, r.URL+"/v2/team/app/manifests/latest", nil)
	if got := response.Header.Get("Docker-Content-Digest"); got != index.Digest.String() {
		t.Errorf("digest is %s, want %s", got, index.Digest)
	}
	var got v1.Index
	if err := json.Unmarshal(body, &got); err != nil || len(got.Manifests) != 3 {
		t.Errorf("index has %d children (%v), want 3", len(got.Manifests), err)
	}
	if n := r.Count(http.MethodGet, "/v2/team/app/**"); n != 1 {
		t.Errorf("%d requests were counted, want 1", n)
	}
}

func TestReadersHaveToLogIn(t *testing.T) {
	r := Start(t, Options{Users: map[string]string{"ann": "secret"}})
	r.PushImage(t, "app", "latest", Image{})
	for password, want := range map[string]int{"secret": http.StatusOK, "wrong": http.StatusUnauthorized} {
		response, _ := get(t, http.DefaultClient, r.URL+"/v2/app/tags/list", func(q *http.Request) { q.SetBasicAuth("ann", password) })
		if response.StatusCode != want {
			t.Errorf("status with password %s is %d, want %d", password, response.StatusCode, want)
		}
	}
}

func TestTroubleEndsWithRecovery(t *testing.T) {
	r := Start(t, Options{})
	r.Throttle("", "**", "7")
	response, _ := get(t, http.DefaultClient, r.URL+"/v2/", nil)
	if response.StatusCode != http.StatusTooManyRequests || response.Header.Get("Retry-After") != "7" {
		t.Errorf("answer is %d with Retry-After %q", response.StatusCode, response.Header.Get("Retry-After"))
	}
	r.Slow("", "**", time.Hour)
	done := make(chan int)
	go func() {
		response, err := http.Get(r.URL + "/v2/")
		if err != nil {
			done <- 0
			return
		}
		response.Body.Close()
		done <- response.StatusCode
	}()
	for deadline := time.Now().Add(10 * time.Second); len(r.Requests()) < 2; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the request did not arrive")
		}
	}
	r.Recover()
	if status := <-done; status != http.StatusOK {
		t.Errorf("status after recovery is %d, want 200", status)
	}
}

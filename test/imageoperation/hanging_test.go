//go:build component

package imageoperation

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/test/controlplane"
	"image.alauda.io/registry/test/imageapi"
)

// frontProxy asks a server as another instance of kube-apiserver does, in the name of a user.
type frontProxy struct {
	http.RoundTripper
	user string
}

func (f frontProxy) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("X-Remote-User", f.user)
	r.Header.Set("X-Remote-Group", "system:authenticated")
	return f.RoundTripper.RoundTrip(r)
}

// throughAnother is a client that comes through another kube-apiserver than the one that the server asks.
func throughAnother(t *testing.T, s *imageapi.Server, user string) *client {
	t.Helper()
	certificate, err := tls.LoadX509KeyPair(s.CP.FrontProxyCertFile, s.CP.FrontProxyKeyFile)
	if err != nil {
		t.Fatal(err)
	}
	config := direct(t, s)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(config.CAData)
	return &client{&http.Client{Transport: frontProxy{&http.Transport{
		TLSClientConfig: &tls.Config{Certificates: []tls.Certificate{certificate}, RootCAs: roots},
	}, user}}, config.Host}
}

// logged sends what this process logs from now on to a file, also what servers log that are started in it.
func logged(t *testing.T) (text func() string) {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	before := os.Stderr
	os.Stderr = log
	t.Cleanup(func() { os.Stderr = before })
	return func() string {
		text, err := os.ReadFile(log.Name())
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
}

// watchTags follows a stream and sends the number of its tags, without ever asking again.
func watchTags(t *testing.T, c *client, namespace, resourceVersion string) <-chan int {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	path := fmt.Sprintf("%s%s/namespaces/%s/imagestreams?watch=true&resourceVersion=%s", c.host, group, namespace, resourceVersion)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := c.http.Do(request)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("watch: %+v %v", answer, err)
	}
	tags := make(chan int, 100)
	go func() {
		defer close(tags)
		defer answer.Body.Close()
		events := json.NewDecoder(answer.Body)
		for {
			var event struct {
				Object struct{ Status struct{ Tags []any } }
			}
			if err := events.Decode(&event); err != nil {
				return
			}
			tags <- len(event.Object.Status.Tags)
		}
	}()
	return tags
}

// What 11.6 promises when kube-apiserver takes connections and never answers: each request ends with a status that
// says so, in time; what the server has in memory, discovery and liveness go on; one line tells of it; and afterwards
// the same process serves as before, also those who watched all the time.
func TestRequestsEndWhileKubeAPIServerHangs(t *testing.T) {
	const limit, grace = 3 * time.Second, 20 * time.Second
	text := logged(t)
	cp := controlplane.Start(t)
	s := imageapi.Start(t, cp)
	namespace := newNamespace(t, s)
	role := &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Name: "reader"},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{imagev1.GroupName}, Resources: []string{"imagestreamtags"}, Verbs: []string{"get"}}},
	}
	if _, err := s.Kube.RbacV1().Roles(namespace).Create(t.Context(), role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "alice"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role.Name},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: "alice"}},
	}
	if _, err := s.Kube.RbacV1().RoleBindings(namespace).Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	admin, alice := newClient(t, direct(t, s)), throughAnother(t, s, "alice")
	base := group + "/namespaces/" + namespace
	push := func(tag, limits string) (int, []byte, error) {
		return admin.do(http.MethodPost, base+"/imagestreammappings"+limits, mapping(namespace, "app", tag, tag))
	}
	if code, text, err := push("v1", ""); err != nil || code != http.StatusCreated {
		t.Fatalf("before the outage: %d %s %v", code, text, err)
	}
	remembered := base + "/imagestreams?resourceVersion=0"
	served := func(c *client, paths ...string) error {
		for _, path := range paths {
			began := time.Now()
			code, text, err := c.do(http.MethodGet, path, nil)
			if err != nil || code != http.StatusOK {
				return fmt.Errorf("%s: status %d %v: %s", path, code, err, text)
			}
			if took := time.Since(began); took > grace {
				return fmt.Errorf("%s was answered after %s", path, took)
			}
		}
		return nil
	}
	imageapi.Eventually(t, "the stream is in memory", func(context.Context) error {
		code, text, err := admin.do(http.MethodGet, remembered, nil)
		if err != nil || code != http.StatusOK || !strings.Contains(string(text), `"tag":"v1"`) {
			return fmt.Errorf("status %d %v: %s", code, err, text)
		}
		return nil
	})
	stream, err := s.Images.ImageV1().ImageStreams(namespace).Get(t.Context(), "app", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	tags := watchTags(t, newClient(t, direct(t, s)), namespace, stream.ResourceVersion)
	goroutines := runtime.NumGoroutine()

	resume := cp.Suspend(t, "kube-apiserver")
	var waiting sync.WaitGroup
	vain := func(what string, want int, most time.Duration, request func() (int, []byte, error)) {
		waiting.Go(func() {
			began := time.Now()
			code, text, err := request()
			took := time.Since(began).Round(time.Millisecond)
			if err != nil || code != want || !strings.Contains(string(text), `"kind":"Status"`) {
				t.Errorf("%s: status %d, want %d, with an answer of the API: %s %v", what, code, want, text, err)
			}
			if took > most {
				t.Errorf("%s was answered after %s, want %s at most", what, took, most)
			}
			t.Logf("%s: status %d after %s", what, code, took)
		})
	}
	inTime := "?timeout=" + limit.String()
	vain("a push", http.StatusGatewayTimeout, limit+grace, func() (int, []byte, error) { return push("v2", inTime) })
	vain("a quorum read", http.StatusGatewayTimeout, limit+grace, func() (int, []byte, error) { return admin.do(http.MethodGet, base+"/imagestreams"+inTime, nil) })
	vain("a delete", http.StatusGatewayTimeout, limit+grace, func() (int, []byte, error) {
		return admin.do(http.MethodDelete, base+"/imagestreamtags/app:v1"+inTime, nil)
	})
	for i := range 50 { // the library waits ten seconds for a review
		vain("a request that is to be reviewed", http.StatusServiceUnavailable, 10*time.Second+grace, func() (int, []byte, error) {
			return alice.do(http.MethodGet, fmt.Sprintf("%s/imagestreamtags/app:v%d", base, i), nil)
		})
	}
	over := make(chan struct{})
	go func() {
		waiting.Wait()
		close(over)
	}()
	for done := false; !done; {
		select {
		case <-over:
			done = true
		case <-time.After(100 * time.Millisecond): // served as long as the others wait
			if err := served(admin, remembered, group, "/livez"); err != nil {
				t.Error(err)
				done = true
			}
		}
	}
	<-over
	resume()

	imageapi.Eventually(t, "pushes work again", func(context.Context) error {
		code, text, err := push("v3", "")
		if err == nil && code != http.StatusCreated {
			err = fmt.Errorf("status %d: %s", code, text)
		}
		return err
	})
	imageapi.Eventually(t, "the server is ready again", func(context.Context) error { return served(admin, "/readyz") })
	imageapi.Eventually(t, "requests are reviewed again", func(context.Context) error { return served(alice, base+"/imagestreamtags/app:v3") })
	imageapi.Eventually(t, "who watched all the time sees the push", func(context.Context) error {
		for {
			select {
			case now, open := <-tags:
				if !open {
					t.Fatal("the watch has ended")
				}
				if now > 1 {
					return nil
				}
			default:
				return io.ErrNoProgress
			}
		}
	})
	imageapi.Eventually(t, "as few goroutines as before", func(context.Context) error {
		admin.http.CloseIdleConnections()
		alice.http.Transport.(frontProxy).RoundTripper.(*http.Transport).CloseIdleConnections()
		if now := runtime.NumGoroutine(); now > goroutines+20 {
			return fmt.Errorf("%d goroutines, %d before", now, goroutines)
		}
		return nil
	})
	log := text()
	for _, once := range []string{"The API server does not answer", "The API server answers again"} {
		if count := strings.Count(log, once); count != 1 {
			t.Errorf("the log says %d times %q, want once:\n%s", count, once, log)
		}
	}
	if lines := strings.Count(log, "\n"); lines > 300 {
		t.Errorf("the log has %d lines:\n%s", lines, log)
	}
}

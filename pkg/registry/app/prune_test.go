package app

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	imagev1 "image.alauda.io/api/image/v1"
	imageregistryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/registry/store"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/opencontainers/go-digest"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// site is a storage, a cluster that answers what a collection asks, and a configuration.
type site struct {
	directory, config string
	store             *store.Store

	mu       sync.Mutex
	images   []imagev1.Image
	registry *imageregistryv1.Config
	broken   string
}

func newSite(t *testing.T, readOnly bool) *site {
	t.Helper()
	s := &site{directory: t.TempDir()}
	server := httptest.NewServer(http.HandlerFunc(s.answer))
	t.Cleanup(server.Close)
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	write(t, kubeconfig, fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"c","contexts":[{"name":"c","context":{"cluster":"c","user":"u"}}],
"clusters":[{"name":"c","cluster":{"server":%q}}],"users":[{"name":"u","user":{}}]}`, server.URL))
	s.config = filepath.Join(t.TempDir(), "config.yml")
	write(t, s.config, fmt.Sprintf(`version: 0.1
log: {level: debug}
storage: {filesystem: {rootdirectory: %q}, maintenance: {readonly: {enabled: %t}}}
alauda: {kubeconfig: %q, server: {addr: "registry.example:5000"}, gc: {verifydelay: 0s}}
`, s.directory, readOnly, kubeconfig))
	driver, err := store.OpenDriver(t.Context(), "filesystem", configuration.Parameters{"rootdirectory": s.directory}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if s.store, err = store.New(t.Context(), driver, store.Options{Now: time.Now}); err != nil {
		t.Fatal(err)
	}
	return s
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (s *site) answer(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	var object any
	switch {
	case s.broken != "" && strings.HasSuffix(r.URL.Path, s.broken):
		http.Error(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403}`, http.StatusForbidden)
		return
	case strings.HasSuffix(r.URL.Path, "/imagestreams"):
		object = imagev1.ImageStreamList{}
	case strings.HasSuffix(r.URL.Path, "/images"):
		object = imagev1.ImageList{Items: s.images}
	case strings.HasSuffix(r.URL.Path, "/configs/cluster") && s.registry != nil:
		object = s.registry
	default:
		http.NotFound(w, r)
		return
	}
	_ = json.NewEncoder(w).Encode(object)
}

// put stores bytes of an age.
func (s *site) put(t *testing.T, content string, age time.Duration) digest.Digest {
	t.Helper()
	d := digest.FromString(content)
	if err := s.store.PutManifest(t.Context(), []byte(content), d); err != nil {
		t.Fatal(err)
	}
	at := time.Now().Add(-age)
	if err := os.Chtimes(s.path(d), at, at); err != nil {
		t.Fatal(err)
	}
	return d
}

func (s *site) path(d digest.Digest) string {
	return filepath.Join(s.directory, "docker/registry/v2/blobs/sha256", d.Encoded()[:2], d.Encoded(), "data")
}

func (s *site) stored(t *testing.T, d digest.Digest) bool {
	t.Helper()
	found, err := s.store.Stored(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// fill stores an image and 1536 bytes that nobody uses.
func (s *site) fill(t *testing.T) (used, unused digest.Digest) {
	t.Helper()
	image := imagev1.Image{ObjectMeta: metav1.ObjectMeta{Name: s.put(t, "a manifest", 100*time.Hour).String()}}
	used = s.put(t, "a layer", 100*time.Hour)
	image.DockerImageLayers = []imagev1.ImageLayer{{Name: used.String()}}
	s.images = []imagev1.Image{image}
	return used, s.put(t, strings.Repeat("x", 1536), 3*time.Hour)
}

// Behaviour 81: check prints what would go and changes nothing, delete frees it.
func TestPrune(t *testing.T) {
	s := newSite(t, true)
	used, unused := s.fill(t)
	code, stdout, stderr := run(t, "-prune=check", s.config)
	want := "Would delete blob " + unused.String() + "\nWould delete 1 blobs\nWould free up 1.5 KiB of disk space\nUse -prune=delete to actually delete the data\n"
	if code != exitOK || stdout != want || stderr != "" || !s.stored(t, unused) {
		t.Errorf("code %d\nstdout %s\nstderr %s", code, stdout, stderr)
	}
	code, stdout, stderr = run(t, "--prune", "delete", s.config)
	want = "Deleting blob " + unused.String() + "\nDeleted 1 blobs\nFreed up 1.5 KiB of disk space\n"
	if code != exitOK || stdout != want || stderr != "" || s.stored(t, unused) || !s.stored(t, used) {
		t.Errorf("code %d\nstdout %s\nstderr %s", code, stdout, stderr)
	}
}

// Behaviour 81: content within the grace period stays, and the period can be nothing.
func TestPruneGrace(t *testing.T) {
	s := newSite(t, true)
	_, unused := s.fill(t)
	if code, stdout, _ := run(t, "-prune=delete", "-blob-grace=4h", s.config); code != exitOK || !strings.HasPrefix(stdout, "Deleted 0 blobs") || !s.stored(t, unused) {
		t.Errorf("code %d, %s", code, stdout)
	}
	// Not this very moment: files that the system dates are up to a tick of its clock behind.
	fresh := s.put(t, "fresh", time.Second)
	if code, stdout, stderr := run(t, "-prune=delete", "-blob-grace=0", "-repo-grace", "0s", s.config); code != exitOK || s.stored(t, unused) || s.stored(t, fresh) {
		t.Errorf("code %d, %s %s", code, stdout, stderr)
	}
}

// Behaviour 81: while the registry takes writes nothing is deleted without -force.
func TestPruneNeedsProofThatNothingIsWritten(t *testing.T) {
	replicas := func(wanted, ready int32) *imageregistryv1.Config {
		c := &imageregistryv1.Config{}
		c.Spec.Replicas, c.Status.ReadyReplicas = &wanted, ready
		return c
	}
	readOnly, removed := &imageregistryv1.Config{}, &imageregistryv1.Config{}
	readOnly.Spec.ReadOnly, removed.Spec.ManagementState = true, imageregistryv1.Removed
	for _, test := range []struct {
		name   string
		config *imageregistryv1.Config
		flags  []string
		code   int
	}{
		{"no operator", nil, nil, exitRefused},
		{"managed", replicas(1, 1), nil, exitRefused},
		{"scaled down, but one replica is left", replicas(0, 1), nil, exitRefused},
		{"scaled down", replicas(0, 0), nil, exitOK},
		{"read-only", readOnly, nil, exitOK},
		{"removed", removed, nil, exitOK},
		{"forced", replicas(1, 1), []string{"-force"}, exitOK},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSite(t, false)
			_, unused := s.fill(t)
			if s.registry = test.config; s.registry != nil {
				s.registry.Name = "cluster"
			}
			code, stdout, stderr := run(t, append(test.flags, "-prune=delete", s.config)...)
			if code != test.code || s.stored(t, unused) != (code != exitOK) || (code == exitRefused) != (stdout == "") {
				t.Errorf("code %d\nstdout %s\nstderr %s", code, stdout, stderr)
			}
		})
	}
}

// Behaviours 81 and 84: a guard is exit code 4, an error is 1, and both delete nothing.
func TestPruneRefusals(t *testing.T) {
	for _, test := range []struct {
		name    string
		prepare func(t *testing.T, s *site)
		flags   []string
		code    int
		stderr  string
	}{
		{"no images", func(_ *testing.T, s *site) { s.images = nil }, nil, exitRefused, "may belong to another cluster"},
		{"no images, forced", func(_ *testing.T, s *site) { s.images = nil }, []string{"-force"}, exitRefused, "may belong to another cluster"},
		{"most blobs", func(t *testing.T, s *site) {
			for i := range 3 {
				s.put(t, fmt.Sprint(i), 3*time.Hour)
			}
		}, nil, exitRefused, "more than 50 percent"},
		{"most blobs, forced", func(t *testing.T, s *site) {
			for i := range 3 {
				s.put(t, fmt.Sprint(i), 3*time.Hour)
			}
		}, []string{"-force"}, exitOK, ""},
		{"blocked", func(_ *testing.T, s *site) {
			s.registry = &imageregistryv1.Config{ObjectMeta: metav1.ObjectMeta{Name: "cluster", Annotations: map[string]string{imageregistryv1.BlockGCAnnotation: "true"}}}
		}, []string{"-force"}, exitRefused, imageregistryv1.BlockGCAnnotation},
		{"no permission for streams", func(_ *testing.T, s *site) { s.broken = "/imagestreams" }, nil, exitError, "list image streams"},
		{"no permission for the Config", func(_ *testing.T, s *site) { s.broken = "/configs/cluster" }, nil, exitError, "Config cluster"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSite(t, true)
			_, unused := s.fill(t)
			test.prepare(t, s)
			code, stdout, stderr := run(t, append(test.flags, "-prune=delete", s.config)...)
			if code != test.code || !strings.Contains(stderr, test.stderr) || s.stored(t, unused) != (code != exitOK) {
				t.Errorf("code %d\nstdout %s\nstderr %s", code, stdout, stderr)
			}
		})
	}
}

// Behaviour 81: a wrong use of the flags is exit code 2 and starts nothing.
func TestModeFlags(t *testing.T) {
	for _, test := range []struct {
		args   string
		stderr string
	}{
		{"-prune=", `must be check or delete`},
		{"-prune=everything", `must be check or delete, not "everything"`},
		{"--prune=check -blob-grace=-1h", "must not be negative"},
		{"-prune=check -blob-grace=soon", "blob-grace"},
		{"-blob-grace=1h", "-blob-grace needs -prune"},
		{"-force", "-force needs -prune"},
		{"-prune=check -restore-mode=check", "-prune and -restore-mode cannot be combined"},
		{"-prune=check -list-blobs -experimental", "cannot be combined"},
		{"-experimental -list-blobs -list-repositories", "cannot be combined"},
		{"-list-blobs", "-list-blobs needs -experimental"},
		{"-restore-mode=recover", "-restore-mode needs -experimental"},
		{"-experimental -restore-mode=all", "must be check, check-storage"},
		{"-restore-namespace=team", "-restore-namespace needs -restore-mode"},
		{"-experimental -list-manifests-from=", "needs a repository"},
		{"-wrong", "unknown flag: --wrong"},
	} {
		t.Run(test.args, func(t *testing.T) {
			code, stdout, stderr := run(t, strings.Fields(test.args)...)
			if code != exitUsage || stdout != "" || !strings.Contains(stderr, test.stderr) {
				t.Errorf("code %d\nstdout %s\nstderr %s", code, stdout, stderr)
			}
		})
	}
}

func TestHumanSize(t *testing.T) {
	for bytes, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 5 << 30: "5.0 GiB", 1 << 62: "4.0 EiB"} {
		if got := humanSize(bytes); got != want {
			t.Errorf("%d is %s, want %s", bytes, got, want)
		}
	}
}

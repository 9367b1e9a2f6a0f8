package app

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"
	"sigs.k8s.io/yaml"

	imagev1 "image.alauda.io/api/image/v1"
	imagefake "image.alauda.io/client-go/clientset/versioned/fake"
	"image.alauda.io/registry/pkg/pruner/options"
)

// running is a Pod whose container was started from an image with this ID.
func running(imageID string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "x", Name: "runs", CreationTimestamp: long},
		Spec:   corev1.PodSpec{Containers: []corev1.Container{{Image: "h.x/ns/other:v1"}}},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{{ImageID: imageID}}}}
}

// Behaviour 13. Runtimes name what they run by the digest of the manifest, of an index, or of the configuration.
// Of the fixture revision d and image e would go; f has the child d.
func TestEveryNameOfARunningImageKeepsIt(t *testing.T) {
	config := "sha256:" + strings.Repeat("0d", 32)
	for name, test := range map[string]struct{ imageID, kept string }{
		"the configuration, docker":      {"docker://" + config, "d"},
		"the configuration, CRI-O":       {strings.TrimPrefix(config, "sha256:"), "d"},
		"the configuration, containerd":  {config, "d"},
		"the manifest alone":             {"docker-pullable://" + id("d"), "d"},
		"behind a proxy":                 {"proxy.example.test/mirror/ns/app@" + id("d"), "d"},
		"in another stream":              {"h.x/ns/other@" + id("e"), "e"},
		"another image":                  {"h.x/ns/app@" + id("7"), ""},
		"a configuration of other image": {"sha256:" + strings.Repeat("0e", 32), ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, confirm, running(test.imageID))
			used := image("d")
			used.Annotations = map[string]string{imagev1.ImageConfigDigestAnnotation: config}
			if err := f.image.Tracker().Update(imagev1.SchemeGroupVersion.WithResource("images"), used, ""); err != nil {
				t.Fatal(err)
			}
			if code := f.code(); code != 0 {
				t.Fatalf("exit %d: %s", code, f.errors.String())
			}
			changes := strings.Join(f.changes(), " ")
			for _, letter := range []string{"c", "d", "e"} {
				if deleted := strings.Contains(changes, "delete "+letter); deleted == (letter == test.kept) {
					t.Errorf("image %s deleted: %t", letter, deleted)
				}
			}
			if listed := !strings.Contains(f.out.String(), "tag-revision\tns/app:v1@"+id("d")); listed != (test.kept == "d") {
				t.Errorf("revision d stays: %t\n%s", listed, f.out.String())
			}
		})
	}
}

// Behaviour 45. Where only signed images may run, what runs by its digest needs its signature, also after its tag
// was deleted.
func TestTheSignatureOfARunningImageStays(t *testing.T) {
	for _, used := range []bool{false, true} {
		f := newFixture(t, confirm)
		if used {
			f = newFixture(t, confirm, running("h.x/ns/signed@"+id("5")))
		}
		object := stream("signed", "6")
		object.Status.Tags[0].Tag = "sha256-" + strings.Repeat("5", 64) + ".sig"
		f.image = imagefake.NewClientset(object, image("5"), image("6"))
		f.clients.image = f.image
		if code := f.code(); code != 0 || strings.Contains(strings.Join(f.changes(), " "), "delete 6") == used {
			t.Errorf("used %t: exit %d, changes %v\n%s", used, code, f.changes(), f.out.String())
		}
	}
}

// Behaviour 10: all attempts are one document, with what any of them did.
func TestAttemptsAreOneDocument(t *testing.T) {
	for _, format := range []string{"json", "yaml", "jsonl"} {
		f := newFixture(t, func(o *options.Options) { o.Confirm, o.Retries, o.Output, o.NumWorkers = true, 3, format, 1 })
		times := 0
		f.image.PrependReactor("delete", "images", func(action clienttesting.Action) (bool, runtime.Object, error) {
			if action.(clienttesting.DeleteAction).GetName() != id("e") {
				return false, nil, nil
			}
			times++
			return times < 3, nil, apierrors.NewInternalError(errors.New("not now"))
		})
		if code := f.code(); code != 0 || times != 3 {
			t.Fatalf("%s: exit %d after %d attempts: %s", format, code, times, f.errors.String())
		}
		text := f.out.String()
		if format == "jsonl" {
			lines := strings.Split(strings.TrimSpace(text), "\n")
			text = lines[len(lines)-1]
		}
		var document struct {
			Kind     string
			Attempts int
			Summary  struct{ ImagesDeleted, TagRevisionsDeleted, ImageStreamsUpdated, Failed int }
			Items    []struct{ Action, Digest string }
		}
		if err := yaml.UnmarshalStrict([]byte(text), &struct{ *json.RawMessage }{}); format == "json" && !json.Valid([]byte(text)) {
			t.Errorf("%s: not one document: %v\n%s", format, err, text)
		}
		if err := yaml.Unmarshal([]byte(text), &document); err != nil {
			t.Fatal(err)
		}
		if s := document.Summary; document.Attempts != 3 || s.ImagesDeleted != 3 || s.TagRevisionsDeleted != 2 || s.ImageStreamsUpdated != 1 || s.Failed != 0 {
			t.Errorf("%s: %+v", format, document)
		}
		if strings.Count(f.out.String(), "PruneReport") != 1 {
			t.Errorf("%s: several documents\n%s", format, f.out.String())
		}
		if format != "jsonl" && len(document.Items) != 5 {
			t.Errorf("%s: items %+v", format, document.Items)
		}
	}
}

// Behaviours 8 and 9: a document is printed whatever happens, so that a program always has something to read.
func TestAFailureIsADocumentToo(t *testing.T) {
	bad := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "x", Name: "bad"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Image: "h.x/ns/app :v1"}}}}
	f := newFixture(t, func(o *options.Options) { o.Output = "json" }, bad)
	code := f.code()
	var document struct {
		Error             string
		InvalidReferences []struct{ Name string }
	}
	if err := json.Unmarshal(f.out.Bytes(), &document); err != nil || code != 3 || document.Error == "" || len(document.InvalidReferences) != 1 {
		t.Errorf("exit %d, %v: %s", code, err, f.out.String())
	}
	f = newFixture(t, func(*options.Options) {}, bad)
	if code := f.code(); code != 3 || f.out.Len() != 0 {
		t.Errorf("text: exit %d, printed %q", code, f.out.String())
	}
}

// What an API says is shown on terminals.
func TestErrorsAreHarmlessOnATerminal(t *testing.T) {
	if got := message(failure(exitFailed, "a\x1b[2J\nb\u202ec")); got != "a\ufffd[2J b\ufffdc" {
		t.Errorf("%q", got)
	}
}

//go:build component

package apiserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery"
)

// served is the whole API group: resource, kind, singular, scope, short names, categories, verbs.
const served = `
images               Image              false image            - -   create delete deletecollection get list patch update watch
imagesignatures      ImageSignature     false imagesignature   - -   create delete
imagestreams         ImageStream        true  imagestream      is all create delete deletecollection get list patch update watch
imagestreams/status  ImageStream        true  -                - -   get patch update
imagestreams/layers  ImageStreamLayers  true  -                - -   get
imagestreams/secrets SecretList         true  -                - -   get
imagestreamtags      ImageStreamTag     true  imagestreamtag   istag - create delete get list patch update
imagetags            ImageTag           true  imagetag         itag -  create delete get list patch update
imagestreamimages    ImageStreamImage   true  imagestreamimage isimage - get
imagestreammappings  ImageStreamMapping true  imagestreammapping - -  create
imagestreamimports   ImageStreamImport  true  imagestreamimport - -   create
`

// Behaviour 1.
func testDiscovery(t *testing.T, e *environment) {
	list, err := e.kube.Discovery().ServerResourcesForGroupVersion("image.alauda.io/v1")
	if err != nil {
		t.Fatal(err)
	}
	got := resourceLines(list)
	var want []string
	for line := range strings.Lines(strings.TrimSpace(served)) {
		want = append(want, strings.Join(strings.Fields(line), " "))
	}
	slices.Sort(want)
	for _, line := range want {
		if !slices.Contains(got, line) {
			t.Errorf("not served: %s", line)
		}
	}
	for _, line := range got {
		if !slices.Contains(want, line) {
			t.Errorf("served beside the table: %s", line)
		}
	}
}

func resourceLines(list *metav1.APIResourceList) []string {
	orNone := func(words ...string) string {
		if text := strings.Join(words, ","); text != "" {
			return text
		}
		return "-"
	}
	var lines []string
	for _, r := range list.APIResources {
		singular := r.SingularName
		if strings.Contains(r.Name, "/") {
			singular = "" // nobody names a subresource in the singular
		}
		verbs := slices.Sorted(slices.Values(r.Verbs))
		lines = append(lines, strings.Join([]string{r.Name, r.Kind, fmt.Sprint(r.Namespaced), orNone(singular), orNone(r.ShortNames...), orNone(r.Categories...), strings.Join(verbs, " ")}, " "))
	}
	return lines
}

// kinds are all kinds of the group that requests or answers consist of.
var kinds = []string{
	"Image", "ImageList", "ImageSignature", "ImageStream", "ImageStreamList", "ImageStreamLayers", "SecretList",
	"ImageStreamTag", "ImageStreamTagList", "ImageTag", "ImageTagList", "ImageStreamImage", "ImageStreamMapping", "ImageStreamImport",
}

// Behaviour 2.
func testOpenAPI(t *testing.T, e *environment) {
	for what, path := range map[string]string{"OpenAPI v2": "/openapi/v2", "OpenAPI v3": "/openapi/v3/apis/image.alauda.io/v1"} {
		e.eventually(t, what+" has every kind", func(ctx context.Context) error {
			body, err := e.kube.Discovery().RESTClient().Get().AbsPath(path).SetHeader("Accept", "application/json").DoRaw(ctx)
			if err != nil {
				return err
			}
			return missingKinds(body)
		})
	}
	e.eventually(t, "kubectl explains a field", func(context.Context) error {
		text, err := e.kubectl(t, "explain", "imagestream.spec.tags.importPolicy")
		if err != nil {
			return err
		}
		for _, word := range []string{"importMode", "insecure", "scheduled", "FIELD"} {
			if !strings.Contains(text, word) {
				return fmt.Errorf("no %s in %s", word, text)
			}
		}
		return nil
	})
}

// missingKinds tells which kinds an OpenAPI document has no schema for.
func missingKinds(body []byte) error {
	var document struct {
		Definitions map[string]json.RawMessage
		Components  struct{ Schemas map[string]json.RawMessage }
	}
	if err := json.Unmarshal(body, &document); err != nil {
		return err
	}
	schemas := document.Definitions
	if schemas == nil {
		schemas = document.Components.Schemas
	}
	described := map[string]bool{}
	for _, raw := range schemas {
		var schema struct {
			Kinds []struct{ Group, Version, Kind string } `json:"x-kubernetes-group-version-kind"`
		}
		if err := json.Unmarshal(raw, &schema); err != nil {
			return err
		}
		for _, kind := range schema.Kinds {
			if kind.Group == "image.alauda.io" && kind.Version == "v1" {
				described[kind.Kind] = true
			}
		}
	}
	var missing []error
	for _, kind := range kinds {
		if !described[kind] {
			missing = append(missing, fmt.Errorf("no schema of %s", kind))
		}
	}
	return errors.Join(missing...)
}

// kubectl runs the real client as an administrator.
func (e *environment) kubectl(t *testing.T, args ...string) (string, error) {
	t.Helper()
	dir := os.Getenv("DEVCLUSTER_BIN")
	if dir == "" {
		dir = filepath.Join("..", "..", "_output", "devcluster", "bin")
	}
	command := exec.CommandContext(t.Context(), filepath.Join(dir, "kubectl"), append([]string{"--kubeconfig", e.cp.Kubeconfig()}, args...)...)
	command.Env = append(os.Environ(), "HOME="+e.cp.Dir)
	output, err := command.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, output)
	}
	return string(output), nil
}

// Short names, categories and tables as users meet them. Behaviours 1 and 5.
func testKubectl(t *testing.T, e *environment) {
	namespace := e.newNamespace(t)
	if _, err := e.images.ImageV1().ImageStreams(namespace).Create(t.Context(), stream("app"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, content := range []string{"old", "new"} {
		if _, err := e.images.ImageV1().ImageStreamMappings(namespace).Create(t.Context(), mapping("app", "v1", namespace+content), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	newest := digestOf(namespace + "new")
	tests := map[string][]string{
		"get is":                                 {"NAME", "IMAGE REPOSITORY", "TAGS", "UPDATED", "app", "v1"},
		"get all":                                {"imagestream.image.alauda.io/app"},
		"get istag -o wide":                      {"NAME", "IMAGE REFERENCE", "UPDATED", "IMAGE NAME", "HISTORY", "app:v1", newest, digestOf(namespace + "old")[len("sha256:"):][:12]},
		"get itag":                               {"NAME", "SPEC", "STATUS", "HISTORY", "UPDATED", "app:v1", "Push", "image/" + newest, "2"},
		"get isimage app@" + newest + " -o wide": {"NAME", "UPDATED", "IMAGE REFERENCE", "IMAGE NAME", newest},
		"get imagestreamtag app:v1":              {"app:v1"},
		"get imagetag app:v1":                    {"app:v1"},
		"get image " + newest + " -o wide":       {"SIZE", "LAYERS", "MEDIA TYPE", "AGE", newest},
	}
	for args, words := range tests {
		e.eventually(t, "kubectl "+args, func(context.Context) error {
			text, err := e.kubectl(t, append([]string{"-n", namespace}, strings.Fields(args)...)...)
			if err != nil {
				return err
			}
			for _, word := range words {
				if !strings.Contains(text, word) {
					return fmt.Errorf("no %q in\n%s", word, text)
				}
			}
			return nil
		})
	}
}

// Behaviour 3.
func testNoWatchOnTags(t *testing.T, e *environment) {
	for _, resource := range []string{"imagestreamtags", "imagetags"} {
		_, err := e.kube.Discovery().RESTClient().Get().
			AbsPath("/apis/image.alauda.io/v1/namespaces/default", resource).Param("watch", "true").DoRaw(t.Context())
		if !apierrors.IsMethodNotSupported(err) {
			t.Errorf("watch of %s: %v, want MethodNotAllowed", resource, err)
		}
	}
	// What the garbage collector and the quota controller monitor is chosen by these verbs.
	preferred, err := e.kube.Discovery().ServerPreferredResources()
	if err != nil {
		t.Fatal(err)
	}
	monitored := map[string]bool{}
	for _, list := range discovery.FilteredBy(discovery.SupportsAllVerbs{Verbs: []string{"list", "watch", "delete"}}, preferred) {
		if list.GroupVersion == "image.alauda.io/v1" {
			for _, resource := range list.APIResources {
				monitored[resource.Name] = true
			}
		}
	}
	if len(monitored) != 2 || !monitored["images"] || !monitored["imagestreams"] {
		t.Errorf("controllers would monitor %v, want images and imagestreams", monitored)
	}
}

// The garbage collector and the quota controller wait for all their monitors: if one of them could not
// list or watch a resource of the group, neither would do what is asked here. Behaviour 3.
func testControllerManager(t *testing.T, e *environment) {
	namespace := e.newNamespace(t)
	owner, err := e.kube.CoreV1().ConfigMaps(namespace).Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "owner"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	owned := stream("owned")
	owned.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: owner.Name, UID: owner.UID}}
	for _, s := range []*metav1.ObjectMeta{&owned.ObjectMeta, &stream("free").ObjectMeta} {
		created := stream(s.Name)
		created.OwnerReferences = s.OwnerReferences
		if _, err := e.images.ImageV1().ImageStreams(namespace).Create(t.Context(), created, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	const counted = corev1.ResourceName("count/imagestreams.image.alauda.io")
	_, err = e.kube.CoreV1().ResourceQuotas(namespace).Create(t.Context(), &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Name: "count"},
		Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{counted: resource.MustParse("9")}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	e.eventually(t, "the quota controller counts streams", func(ctx context.Context) error {
		quota, err := e.kube.CoreV1().ResourceQuotas(namespace).Get(ctx, "count", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if used, found := quota.Status.Used[counted]; !found || used.Value() != 2 {
			// It looks again when the wish changes, and knows the resource only some time after it is served.
			hard := quota.Spec.Hard[counted]
			hard.Add(resource.MustParse("1"))
			quota.Spec.Hard[counted] = hard
			if _, err := e.kube.CoreV1().ResourceQuotas(namespace).Update(ctx, quota, metav1.UpdateOptions{}); err != nil {
				return err
			}
			return fmt.Errorf("used is %v of %v", quota.Status.Used, quota.Status.Hard)
		}
		return nil
	})
	if err := e.kube.CoreV1().ConfigMaps(namespace).Delete(t.Context(), owner.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	e.eventually(t, "the garbage collector removes the stream of a deleted owner", func(ctx context.Context) error {
		_, err := e.images.ImageV1().ImageStreams(namespace).Get(ctx, "owned", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(errors.New("it is there"), err)
	})
	if _, err := e.images.ImageV1().ImageStreams(namespace).Get(t.Context(), "free", metav1.GetOptions{}); err != nil {
		t.Errorf("a stream without owner: %v", err)
	}
}

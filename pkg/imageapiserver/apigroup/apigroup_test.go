package apigroup_test

import (
	"fmt"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/registry/rest"

	corev1 "k8s.io/api/core/v1"

	imageregistryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/imageapiserver/apigroup"
	"image.alauda.io/registry/pkg/imageapiserver/apigroup/grouptest"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/imagesecret"
)

// Behaviour 1, as far as storage decides it.
func TestResources(t *testing.T) {
	env := grouptest.New(t)
	type facts struct {
		singular           string
		short              string
		list, create, edit bool
		remove, watch      bool
	}
	want := map[string]facts{
		"images":               {"image", "", true, true, true, true, true},
		"imagestreams":         {"imagestream", "is", true, true, true, true, true},
		"imagestreams/status":  {singular: "imagestream", edit: true},
		"imagestreams/layers":  {singular: "imagestreamlayers"},
		"imagestreams/secrets": {singular: "secret"},
		"imagestreamtags":      {"imagestreamtag", "istag", true, true, true, true, false},
		"imagetags":            {"imagetag", "itag", true, true, true, true, false},
		"imagesignatures":      {singular: "imagesignature", create: true, remove: true},
		"imagestreamimages":    {singular: "imagestreamimage", short: "isimage"},
		"imagestreammappings":  {singular: "imagestreammapping", create: true},
		"imagestreamimports":   {singular: "imagestreamimport", create: true},
	}
	for name := range env.Group.Storage {
		if _, known := want[name]; !known {
			t.Errorf("%s is served and in no table", name)
		}
	}
	for name, expected := range want {
		storage := env.Group.Storage[name]
		var got facts
		if provider, ok := storage.(rest.SingularNameProvider); ok {
			got.singular = provider.GetSingularName()
		}
		if provider, ok := storage.(rest.ShortNamesProvider); ok {
			got.short = provider.ShortNames()[0]
		}
		_, got.list = storage.(rest.Lister)
		_, got.create = storage.(rest.Creater)
		_, got.edit = storage.(rest.Updater)
		_, got.remove = storage.(rest.GracefulDeleter)
		_, got.watch = storage.(rest.Watcher)
		if got != expected {
			t.Errorf("%s: got %+v, want %+v", name, got, expected)
		}
	}
}

func TestGroupSpeaksNoProtobuf(t *testing.T) {
	env := grouptest.New(t)
	info := env.Group.Info()
	for _, serializer := range info.NegotiatedSerializer.SupportedMediaTypes() {
		if serializer.MediaType != "application/json" && serializer.MediaType != "application/yaml" {
			t.Errorf("the group speaks %s", serializer.MediaType)
		}
	}
	if len(info.VersionedResourcesStorageMap["v1"]) == 0 {
		t.Error("no resources in v1")
	}
}

func TestDepsMustBeComplete(t *testing.T) {
	codecs, err := apigroup.NewCodecs(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := apigroup.New(apigroup.Deps{}, codecs); err == nil {
		t.Error("a group without dependencies was built")
	}
}

// Behaviour 33.
func TestSecrets(t *testing.T) {
	env := grouptest.New(t)
	// managed is a pull secret as the operator makes it for a service account of every namespace.
	managed := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
		Name:        "default-registry-pull",
		Labels:      map[string]string{imageregistryv1.ManagedPullSecretLabel: "true"},
		Annotations: map[string]string{imageregistryv1.ServiceAccountNameAnnotation: "default"},
	}, Type: corev1.SecretTypeDockerConfigJson}
	for _, secret := range []*corev1.Secret{
		{ObjectMeta: metav1.ObjectMeta{Name: "config", Labels: map[string]string{"use": "yes"}}, Type: corev1.SecretTypeDockerConfigJson},
		{ObjectMeta: metav1.ObjectMeta{Name: "cfg", Annotations: map[string]string{"alauda.io/image.excludeSecret": "false"}}, Type: corev1.SecretTypeDockercfg},
		{ObjectMeta: metav1.ObjectMeta{Name: "opaque", Labels: map[string]string{"use": "yes"}}, Type: corev1.SecretTypeOpaque},
		{ObjectMeta: metav1.ObjectMeta{Name: "excluded", Labels: map[string]string{"use": "yes"}, Annotations: map[string]string{"alauda.io/image.excludeSecret": "true"}}, Type: corev1.SecretTypeDockercfg},
		managed,
	} {
		if _, err := env.Client.CoreV1().Secrets("team-a").Create(t.Context(), secret, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	storage := env.Group.Storage["imagestreams/secrets"].(*imagesecret.REST)
	for selector, want := range map[string]string{"": "[cfg config default-registry-pull]", "use=yes": "[config]", "use=no": "[]"} {
		obj, err := storage.Get(env.Request("alice", "team-a", "imagestreams"), "absent", &metav1.ListOptions{LabelSelector: selector})
		if err != nil {
			t.Fatal(err)
		}
		names := []string{}
		for _, secret := range obj.(*imageapi.SecretList).Items {
			names = append(names, secret.Name)
		}
		slices.Sort(names)
		if got := fmt.Sprint(names); got != want {
			t.Errorf("selector %q gave %s, want %s", selector, got, want)
		}
	}
}

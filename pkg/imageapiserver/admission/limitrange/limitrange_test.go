package limitrange

import (
	"context"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/layers"
)

const ns = "team-a"

// known is a layer index; nil has not synced.
type known map[string]*layers.Record

func (k known) Records(_ context.Context, digests []string) (map[string]*layers.Record, error) {
	if k == nil {
		return nil, layers.ErrNotSynced
	}
	found := map[string]*layers.Record{}
	for _, digest := range digests {
		if entry := k[digest]; entry != nil {
			found[digest] = entry
		}
	}
	return found, nil
}

// record is an image with a config of one byte and one layer, twice.
func record(name string, size int64) *layers.Record {
	one := int64(1)
	layer := imageapi.ImageLayer{Name: name + " layer", LayerSize: size - 1}
	return &layers.Record{Name: name, ConfigID: name + " config", ConfigSize: &one, Layers: []imageapi.ImageLayer{layer, layer}}
}

func plugin(t *testing.T, index layers.Index, objects ...runtime.Object) *Plugin {
	t.Helper()
	factory := informers.NewSharedInformerFactory(fake.NewClientset(objects...), 0)
	p := New()
	p.SetExternalKubeInformerFactory(factory)
	Initializer{Index: index}.Initialize(p)
	if err := p.ValidateInitialization(); err != nil {
		t.Fatal(err)
	}
	factory.Start(t.Context().Done())
	factory.WaitForCacheSync(t.Context().Done())
	return p
}

func limitRange(limit string) *corev1.LimitRange {
	made := &corev1.LimitRange{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "images"}}
	made.Spec.Limits = []corev1.LimitRangeItem{{Type: "alauda.io/Image", Max: corev1.ResourceList{"storage": resource.MustParse(limit)}}}
	return made
}

func mapping(name string, size int64, children ...string) *imageapi.ImageStreamMapping {
	made := &imageapi.ImageStreamMapping{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "app"}}
	made.Image.Name = name
	made.Image.DockerImageMetadata.Size = size
	for _, child := range children {
		made.Image.DockerImageManifests = append(made.Image.DockerImageManifests, imageapi.ImageManifest{Digest: child})
	}
	return made
}

func attributes(obj runtime.Object, resource, subresource string) admission.Attributes {
	return admission.NewAttributesRecord(obj, nil, schema.GroupVersionKind{}, ns, "app",
		schema.GroupVersionResource{Group: imageapi.GroupName, Version: "v1", Resource: resource}, subresource, admission.Create, nil, false, nil)
}

// Behaviour 51.
func TestSizeOfMappedImages(t *testing.T) {
	index := known{
		"stored":  record("stored", 2048),
		"small":   record("small", 600),
		"large":   record("large", 1025),
		"nested":  {Name: "nested", Children: []string{"small", "large"}},
		"circle":  {Name: "circle", Children: []string{"circle", "small"}},
		"shallow": {Name: "shallow", Children: []string{"small"}},
	}
	for _, test := range []struct {
		name    string
		mapping *imageapi.ImageStreamMapping
		want    string
	}{
		{"equal", mapping("new", 1024), ""},
		{"above", mapping("new", 1025), "(1025 > 1Ki)"},
		{"known to be larger than it says", mapping("stored", 1), "(2Ki > 1Ki)"},
		{"index of small children, larger in sum", mapping("list", 9999, "small", "shallow"), ""},
		{"index with a large child", mapping("list", 0, "small", "large"), "(1025 > 1Ki)"},
		{"index of an index", mapping("list", 0, "nested"), "(1025 > 1Ki)"},
		{"index of unknown children", mapping("list", 9999, "gone"), ""},
		{"index that names itself", mapping("list", 0, "circle"), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := plugin(t, index, limitRange("1Ki")).Validate(t.Context(), attributes(test.mapping, "imagestreammappings", ""), nil)
			if test.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			want := `imagestreammappings.image.alauda.io "app" is forbidden: requested usage of storage exceeds the maximum limit per alauda.io/Image ` + test.want
			if !apierrors.IsForbidden(err) || err.Error() != want {
				t.Errorf("got  %v\nwant %s", err, want)
			}
		})
	}
}

func TestOthersAreNotLookedAt(t *testing.T) {
	p := plugin(t, known(nil), limitRange("0"))
	for _, a := range []admission.Attributes{
		attributes(&imageapi.ImageStream{}, "imagestreams", ""),
		attributes(mapping("new", 5), "imagestreammappings", "status"),
	} {
		if err := p.Validate(t.Context(), a, nil); err != nil {
			t.Error(err)
		}
	}
	if p.Handles(admission.Update) || !p.Handles(admission.Create) {
		t.Error("the plugin is for what is created")
	}
	if err := plugin(t, known(nil)).Validate(t.Context(), attributes(mapping("new", 5), "imagestreammappings", ""), nil); err != nil {
		t.Errorf("without any limit: %v", err)
	}
}

func TestWhatIsNotKnownYetIsToBeTriedAgain(t *testing.T) {
	unsynced := New()
	unsynced.SetExternalKubeInformerFactory(informers.NewSharedInformerFactory(fake.NewClientset(), 0))
	unsynced.SetLayerIndex(known{})
	for name, p := range map[string]*Plugin{"limits": unsynced, "sizes": plugin(t, known(nil), limitRange("1"))} {
		err := p.Validate(t.Context(), attributes(mapping("new", 0), "imagestreammappings", ""), nil)
		if seconds, ok := apierrors.SuggestsClientDelay(err); !apierrors.IsServerTimeout(err) || !ok || seconds != 1 {
			t.Errorf("%s: got %v, want a server time-out for one second", name, err)
		}
	}
	if err := New().ValidateInitialization(); err == nil || !strings.Contains(err.Error(), PluginName) {
		t.Errorf("got %v", err)
	}
}

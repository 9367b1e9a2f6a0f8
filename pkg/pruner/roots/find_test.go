package roots

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// cluster is a fake API. Of each group version it knows the kinds and the document of their schemas.
type cluster struct {
	lists     []*metav1.APIResourceList
	failed    map[schema.GroupVersion]error
	documents map[string]string
	problems  map[string]error
	noIndex   error
}

func (c *cluster) Resources(context.Context) ([]*metav1.APIResourceList, map[schema.GroupVersion]error, error) {
	return c.lists, c.failed, nil
}

func (c *cluster) Schemas(context.Context) (map[schema.GroupVersion]string, error) {
	published := map[schema.GroupVersion]string{}
	for location := range c.documents {
		gv, _ := schema.ParseGroupVersion(location)
		published[gv] = location
	}
	return published, c.noIndex
}

func (c *cluster) Document(_ context.Context, location string) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader(c.documents[location])), c.problems[location]
}

func (c *cluster) serve(groupVersion, resource, properties string, verbs ...string) {
	gv, _ := schema.ParseGroupVersion(groupVersion)
	if len(verbs) == 0 {
		verbs = []string{"get", "list", "watch"}
	}
	c.lists = append(c.lists, &metav1.APIResourceList{GroupVersion: groupVersion, APIResources: []metav1.APIResource{
		{Name: resource, Kind: kindOf(gv.Group, resource), Namespaced: true, Verbs: verbs},
		{Name: resource + "/status", Kind: "K" + resource, Verbs: []string{"get"}},
	}})
	if properties != "" {
		c.documents[groupVersion] = fmt.Sprintf(`{"components":{"schemas":{"A":{"properties":{%s},"x-kubernetes-group-version-kind":[{"group":%q,"version":%q,"kind":%q}]}}}}`,
			properties, gv.Group, gv.Version, kindOf(gv.Group, resource))
	}
}

// kindOf is the kind of a resource, those of Kubernetes under their own names.
func kindOf(group, resource string) string {
	if kind, own := map[string]string{"pods": "Pod", "deployments.apps": "Deployment", "ingresses.networking.k8s.io": "Ingress"}[nameOf(group, resource)]; own {
		return kind
	}
	return "K" + resource
}

func newCluster() *cluster {
	return &cluster{documents: map[string]string{}, problems: map[string]error{}, failed: map[schema.GroupVersion]error{}}
}

const (
	holds   = `"spec":{"properties":{"containers":{"items":{"properties":{"image":{"type":"string"}}}}}}`
	holdsNo = `"spec":{"properties":{"size":{"type":"integer"}}}`
	perhaps = `"spec":{"properties":{"values":{"x-kubernetes-preserve-unknown-fields":true}}}`
)

// words describe what was found.
func words(found *Found) []string {
	var all []string
	for _, kind := range found.Kinds {
		word := fmt.Sprintf("%s/%s %s", kind.Name(), kind.Version, kind.Origin)
		if !kind.Required {
			word += " optional"
		}
		if kind.Unlistable != "" {
			word += " unlistable"
		}
		if kind.Watchable {
			word += " watched"
		}
		all = append(all, word)
	}
	for gv := range found.Unknown {
		all = append(all, "unknown "+gv.String())
	}
	return append(all, found.Excluded...)
}

// Behaviour 22.
func TestKindsThatUseImagesAreFound(t *testing.T) {
	down := errors.New("down")
	tests := []struct {
		name     string
		prepare  func(*cluster)
		config   string
		excluded []string
		want     []string
	}{
		{name: "nothing custom", prepare: func(c *cluster) {
			c.serve("v1", "pods", holds)
			c.serve("apps/v1", "deployments", holds)
			c.serve("networking.k8s.io/v1", "ingresses", "")
		}},
		{name: "a preset, whatever its schema says", prepare: func(c *cluster) { c.serve("argoproj.io/v1alpha1", "workflows", holdsNo) },
			want: []string{"workflows.argoproj.io/v1alpha1 preset watched"}},
		{name: "another kind of its group", prepare: func(c *cluster) { c.serve("argoproj.io/v1alpha1", "sensors", holds) },
			want: []string{"sensors.argoproj.io/v1alpha1 discovered watched"}},
		{name: "a disabled preset is not found again by its schema", config: "disablePresets: [argoproj.io]",
			prepare: func(c *cluster) { c.serve("argoproj.io/v1alpha1", "workflows", holds) }},
		{name: "by the schema", prepare: func(c *cluster) {
			c.serve("example.com/v1", "widgets", holds)
			c.serve("other.com/v1", "gadgets", holdsNo)
		}, want: []string{"widgets.example.com/v1 discovered watched"}},
		{name: "a new version of a built-in group", prepare: func(c *cluster) { c.serve("apps/v9", "fleets", holds) },
			want: []string{"fleets.apps/v9 discovered watched"}},
		{name: "a new kind of a built-in version", prepare: func(c *cluster) { c.serve("apps/v1", "fleets", holds) },
			want: []string{"fleets.apps/v1 discovered watched"}},
		{name: "an experiment in a domain of Kubernetes", prepare: func(c *cluster) { c.serve("jobset.x-k8s.io/v1alpha2", "jobsets", holds) },
			want: []string{"jobsets.jobset.x-k8s.io/v1alpha2 discovered watched"}},
		{name: "several versions are one kind, read where images are named", prepare: func(c *cluster) {
			c.serve("example.com/v2", "widgets", holdsNo)
			c.serve("example.com/v1", "widgets", holds)
		}, want: []string{"widgets.example.com/v1 discovered watched"}},
		{name: "the preferred version first", prepare: func(c *cluster) {
			c.serve("example.com/v2", "widgets", holds)
			c.serve("example.com/v1", "widgets", holds)
		}, want: []string{"widgets.example.com/v2 discovered watched"}},
		{name: "no schema", prepare: func(c *cluster) { c.serve("example.com/v1", "widgets", "") },
			want: []string{"widgets.example.com/v1 discovered watched"}},
		{name: "a schema that cannot be read", prepare: func(c *cluster) {
			c.serve("example.com/v1", "widgets", holdsNo)
			c.problems["example.com/v1"] = apierrors.NewServiceUnavailable("busy")
		}, want: []string{"widgets.example.com/v1 discovered watched"}},
		{name: "a broken schema", prepare: func(c *cluster) {
			c.serve("example.com/v1", "widgets", holdsNo)
			c.documents["example.com/v1"] = "{"
		}, want: []string{"widgets.example.com/v1 discovered watched"}},
		{name: "free form somewhere", prepare: func(c *cluster) { c.serve("example.com/v1", "widgets", perhaps) },
			want: []string{"widgets.example.com/v1 discovered optional watched"}},
		{name: "no list", prepare: func(c *cluster) { c.serve("example.com/v1", "widgets", holds, "get", "update") },
			want: []string{"widgets.example.com/v1 discovered unlistable"}},
		{name: "no watch", prepare: func(c *cluster) { c.serve("example.com/v1", "widgets", holds, "get", "list") },
			want: []string{"widgets.example.com/v1 discovered"}},
		{name: "only questions", prepare: func(c *cluster) { c.serve("example.com/v1", "reviews", holds, "create") }},
		{name: "our own groups", prepare: func(c *cluster) {
			c.serve("image.alauda.io/v1", "imagestreams", holds)
			c.serve("imageregistry.operator.alauda.io/v1", "configs", holds)
		}},
		{name: "a group that only begins like ours", prepare: func(c *cluster) { c.serve("build.image.alauda.io/v1", "builds", holds) },
			want: []string{"builds.build.image.alauda.io/v1 discovered watched"}},
		{name: "left out by name", excluded: []string{"widgets.example.com"}, prepare: func(c *cluster) {
			c.serve("example.com/v1", "widgets", holds)
			c.serve("example.com/v2", "gadgets", holds)
		}, want: []string{"gadgets.example.com/v2 discovered watched", "widgets.example.com"}},
		{name: "left out by group", excluded: []string{"example.com"}, prepare: func(c *cluster) {
			c.serve("example.com/v1", "widgets", holds)
			c.failed[schema.GroupVersion{Group: "example.com", Version: "v2"}] = down
		}, want: []string{"widgets.example.com"}},
		{name: "a group that does not answer", prepare: func(c *cluster) { c.failed[schema.GroupVersion{Group: "example.com", Version: "v1"}] = down },
			want: []string{"unknown example.com/v1"}},
		{name: "figures that do not answer", prepare: func(c *cluster) { c.failed[schema.GroupVersion{Group: "metrics.k8s.io", Version: "v1beta1"}] = down }},
		{name: "configured in a version", config: "roots: [{group: example.com, resource: widgets, version: v1}]", prepare: func(c *cluster) {
			c.serve("example.com/v2", "widgets", holdsNo)
			c.serve("example.com/v1", "widgets", holdsNo)
		}, want: []string{"widgets.example.com/v1 configured watched"}},
		{name: "configured in a version that is not served", config: "roots: [{group: example.com, resource: widgets, version: v3}]",
			prepare: func(c *cluster) { c.serve("example.com/v2", "widgets", holds) }, want: []string{"widgets.example.com/v3 configured unlistable"}},
		{name: "configured instead of discovered", config: "roots: [{group: example.com, resource: widgets, required: false}]",
			prepare: func(c *cluster) { c.serve("example.com/v2", "widgets", holds) }, want: []string{"widgets.example.com/v2 configured optional watched"}},
		{name: "configured of Kubernetes itself", config: "roots: [{resource: configmaps}]",
			prepare: func(c *cluster) { c.serve("v1", "configmaps", "") }, want: []string{"configmaps/v1 configured watched"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := newCluster()
			if test.prepare != nil {
				test.prepare(c)
			}
			config, err := ParseConfig([]byte(test.config))
			if err != nil {
				t.Fatal(err)
			}
			found, err := Finder{API: c, Config: config, Excluded: test.excluded}.Find(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got := words(found); !slices.Equal(got, test.want) {
				t.Errorf("found %q, want %q", got, test.want)
			}
		})
	}
}

func TestWithoutTheListOfSchemasNothingIsSaid(t *testing.T) {
	c := newCluster()
	c.serve("example.com/v1", "widgets", holdsNo)
	c.noIndex = apierrors.NewForbidden(schema.GroupResource{}, "", nil)
	if _, err := (Finder{API: c, Config: &Config{}}).Find(t.Context()); err == nil || !strings.Contains(err.Error(), "/openapi/v3") {
		t.Errorf("%v", err)
	}
}

func TestMisspelledExclusionsAreNamed(t *testing.T) {
	c := newCluster()
	c.serve("example.com/v1", "widgets", holds)
	found, err := Finder{API: c, Config: &Config{}, Excluded: []string{"widget.example.com", "example.com"}}.Find(t.Context())
	if err != nil || !slices.Equal(found.Unused, []string{"widget.example.com"}) {
		t.Errorf("%v, %v", found, err)
	}
}

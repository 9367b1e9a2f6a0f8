package imagestream_test

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"

	configv1 "image.alauda.io/api/config/v1"
	"image.alauda.io/registry/pkg/imageapiserver/allowlist"
	"image.alauda.io/registry/pkg/imageapiserver/apigroup"
	"image.alauda.io/registry/pkg/imageapiserver/apigroup/grouptest"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream"
	"image.alauda.io/registry/pkg/imageapiserver/limits"
	"image.alauda.io/registry/pkg/imageapiserver/quota"
	"image.alauda.io/registry/pkg/imageapiserver/quota/quotatest"
	"image.alauda.io/registry/pkg/imageapiserver/streaminformer"
)

// limited builds a group in which the namespace has a quota and a LimitRange.
func limited(t *testing.T, hard, max corev1.ResourceList) *grouptest.Env {
	t.Helper()
	env, _ := limitedBy(t, hard, max)
	return env
}

// limitedBy returns the gate, too.
func limitedBy(t *testing.T, hard, max corev1.ResourceList) (*grouptest.Env, *quota.Gate) {
	t.Helper()
	index := quota.NewIndex()
	var gate *quota.Gate
	env := grouptest.New(t, func(env *grouptest.Env, deps *apigroup.Deps) {
		ctx := t.Context()
		if _, err := env.Client.CoreV1().ResourceQuotas(ns).Create(ctx, &corev1.ResourceQuota{
			ObjectMeta: metav1.ObjectMeta{Name: "q", ResourceVersion: "1"}, Spec: corev1.ResourceQuotaSpec{Hard: hard},
		}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, err := env.Client.CoreV1().LimitRanges(ns).Create(ctx, &corev1.LimitRange{
			ObjectMeta: metav1.ObjectMeta{Name: "l"},
			Spec:       corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{{Type: "alauda.io/ImageStream", Max: max}}},
		}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		quotatest.Guard(env.Client)
		factory := informers.NewSharedInformerFactory(env.Client, 0)
		gate = quota.NewGate(quota.Options{
			Index: index, Client: env.Client.CoreV1(), Quotas: factory.Core().V1().ResourceQuotas(),
			LimitRanges: limits.NewRanges(factory.Core().V1().LimitRanges()),
		})
		deps.Quota = gate
		factory.Start(ctx.Done())
		factory.WaitForCacheSync(ctx.Done())
	})
	env.CreateStream(grouptest.Stream("elsewhere", "app"))
	informer := streaminformer.New(env.Streams())
	if err := index.Feed(informer); err != nil {
		t.Fatal(err)
	}
	go informer.RunWithContext(t.Context())
	if !cache.WaitForCacheSync(t.Context().Done(), index.HasSynced) {
		t.Fatal("the streams are not counted")
	}
	return env, gate
}

func resources(pairs ...string) corev1.ResourceList {
	list := corev1.ResourceList{}
	for i := 0; i < len(pairs); i += 2 {
		list[corev1.ResourceName(pairs[i])] = resource.MustParse(pairs[i+1])
	}
	return list
}

func used(env *grouptest.Env, name corev1.ResourceName) int64 {
	env.T.Helper()
	current, err := env.Client.CoreV1().ResourceQuotas(ns).Get(env.T.Context(), "q", metav1.GetOptions{})
	if err != nil {
		env.T.Fatal(err)
	}
	amount := current.Status.Used[name]
	return amount.Value()
}

// addTag asks for one more tag by each of the ways in which a stream is written.
func addTag() map[string]func(env *grouptest.Env, name string) error {
	return map[string]func(env *grouptest.Env, name string) error{
		"push": func(env *grouptest.Env, name string) error {
			return env.Map("registry", ns, "app", name, grouptest.Pushed(ns, "app", "pushed as "+name))
		},
		"stream": func(env *grouptest.Env, name string) error {
			stream := env.Stream(ns, "app")
			if stream.Spec.Tags == nil {
				stream.Spec.Tags = map[string]imageapi.TagReference{}
			}
			stream.Spec.Tags[name] = grouptest.Tag(name, "", "", "")
			_, err := update(env.T, env, stream)
			return err
		},
		"tag": func(env *grouptest.Env, name string) error {
			tag := &imageapi.ImageStreamTag{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "app:" + name}}
			wanted := grouptest.Tag(name, "DockerImage", "", "docker.io/library/busybox:1")
			tag.Tag = &wanted
			_, err := env.Tags().Create(env.Request("alice", ns, "imagestreamtags"), tag, rest.ValidateAllObjectFunc, &metav1.CreateOptions{})
			return err
		},
		"status": func(env *grouptest.Env, name string) error {
			stream := env.Stream(ns, "app")
			if stream.Status.Tags == nil {
				stream.Status.Tags = map[string]imageapi.TagEventList{}
			}
			stream.Status.Tags[name] = imageapi.TagEventList{Items: []imageapi.TagEvent{{DockerImageReference: "docker.io/library/busybox:1", Created: metav1.Now()}}}
			_, _, err := imagestream.NewStatusREST(env.Streams()).Update(env.Request("alice", ns, "imagestreams"), "app",
				rest.DefaultUpdatedObjectInfo(stream), rest.ValidateAllObjectFunc, rest.ValidateAllObjectUpdateFunc, false, &metav1.UpdateOptions{})
			return err
		},
	}
}

// Behaviours 52 and 53: no way of writing a stream leads past limits and quota.
func TestEveryWriterPassesLimitsAndQuota(t *testing.T) {
	for way, add := range addTag() {
		t.Run("quota by "+way, func(t *testing.T) {
			env := limited(t, resources("alauda.io/image-tags", "1"), nil)
			env.CreateStream(grouptest.Stream(ns, "app"))
			if err := add(env, "v1"); err != nil {
				t.Fatal(err)
			}
			if got := used(env, "alauda.io/image-tags"); got != 1 {
				t.Errorf("used is %d, want 1", got)
			}
			err := add(env, "v2")
			if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "exceeded quota: q, requested: alauda.io/image-tags=1, used: alauda.io/image-tags=1, limited: alauda.io/image-tags=1") {
				t.Errorf("got %v", err)
			}
			if got := used(env, "alauda.io/image-tags"); got != 1 {
				t.Errorf("after a refusal used is %d, want 1", got)
			}
		})
		t.Run("limit by "+way, func(t *testing.T) {
			env := limited(t, nil, resources("alauda.io/image-tags", "1"))
			env.CreateStream(grouptest.Stream(ns, "app"))
			if err := add(env, "v1"); err != nil {
				t.Fatal(err)
			}
			err := add(env, "v2")
			if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "requested usage of alauda.io/image-tags exceeds the maximum limit per alauda.io/ImageStream (2 > 1)") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// Behaviour 55: a write that the store refuses gives back what was reserved for it.
func TestRefusedCreateGivesBack(t *testing.T) {
	env := limited(t, resources("alauda.io/imagestreams", "5", "count/imagestreams.image.alauda.io", "5"), nil)
	env.CreateStream(grouptest.Stream(ns, "app"))
	if err := create(env, grouptest.Stream(ns, "app")); !apierrors.IsAlreadyExists(err) {
		t.Fatalf("got %v, want that it exists", err)
	}
	for _, name := range []corev1.ResourceName{"alauda.io/imagestreams", "count/imagestreams.image.alauda.io"} {
		if got := used(env, name); got != 1 {
			t.Errorf("used %s is %d, want 1", name, got)
		}
	}
}

// Behaviours 52 and 53: refused pushes do not fill the storage with Images that no quota counts.
func TestRefusedPushStoresNoImage(t *testing.T) {
	for name, env := range map[string]*grouptest.Env{
		"quota": limited(t, resources("alauda.io/images", "1"), nil),
		"limit": limited(t, nil, resources("alauda.io/images", "1")),
	} {
		env.CreateStream(grouptest.Stream(ns, "app"))
		env.Push(ns, "app", "v1", grouptest.Pushed(ns, "app", "first"))
		second := grouptest.Pushed(ns, "app", "second")
		if err := env.Map("registry", ns, "app", "v2", second); !apierrors.IsForbidden(err) {
			t.Fatalf("%s: got %v, want a refusal", name, err)
		}
		if _, err := env.Group.Images.Find(t.Context(), second.Name); !apierrors.IsNotFound(err) {
			t.Errorf("%s: looking for the Image of the refused push: %v, want that there is none", name, err)
		}
	}
}

// The server survives a panic in a request; what was reserved must not be pending for good.
func TestPanicLeavesNothingPending(t *testing.T) {
	env, gate := limitedBy(t, resources("alauda.io/image-tags", "5"), nil)
	env.CreateStream(grouptest.Stream(ns, "app"))
	attempts, caught := 0, any(nil)
	func() {
		defer func() { caught = recover() }()
		_, _, _ = env.Streams().Mutate(env.Request("alice", ns, "imagestreams"), "app", imagestream.Mutation{}, func(stream *imageapi.ImageStream) error {
			if attempts++; attempts > 1 {
				panic("in the second attempt")
			}
			stream.Spec.Tags = map[string]imageapi.TagReference{"v1": grouptest.Tag("v1", "", "", "")}
			other := env.Stream(ns, "app") // a writer that comes first
			other.Labels = map[string]string{"a": "b"}
			_, err := update(env.T, env, other)
			return err
		})
	}()
	if caught == nil || attempts != 2 {
		t.Fatalf("%d attempts, panic %v: want a panic in the second", attempts, caught)
	}
	if pending := gate.Pending(ns)["alauda.io/image-tags"]; pending != 0 {
		t.Errorf("%d tags are pending, want none", pending)
	}
}

func TestDryRunReservesNothing(t *testing.T) {
	env := limited(t, resources("alauda.io/imagestreams", "5"), nil)
	ctx := env.Request("alice", ns, "imagestreams")
	if _, err := env.Streams().Create(ctx, grouptest.Stream(ns, "app"), rest.ValidateAllObjectFunc, &metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}); err != nil {
		t.Fatal(err)
	}
	if got := used(env, "alauda.io/imagestreams"); got != 0 {
		t.Errorf("used is %d, want 0", got)
	}
}

// restricted builds a group with a list of allowed registries that the test may change.
func restricted(t *testing.T, config **configv1.ImageAPIServerConfig) *grouptest.Env {
	t.Helper()
	return grouptest.New(t, func(env *grouptest.Env, deps *apigroup.Deps) {
		deps.AllowedRegistries = allowlist.NewSource(func() *configv1.ImageAPIServerConfig { return *config }, deps.Hosts)
	})
}

func allowing(names ...string) *configv1.ImageAPIServerConfig {
	config := &configv1.ImageAPIServerConfig{}
	for _, name := range names {
		config.ImageImport.AllowedRegistriesForImport = append(config.ImageImport.AllowedRegistriesForImport, configv1.RegistryLocation{DomainName: name})
	}
	return config
}

// Behaviour 44: where a stream names a registry that is not allowed.
func TestStreamsNameAllowedRegistriesOnly(t *testing.T) {
	config := allowing("quay.io")
	env := restricted(t, &config)
	repository := grouptest.Stream(ns, "app")
	repository.Spec.DockerImageRepository = "evil.example.org/a/b"
	insecure := grouptest.Stream(ns, "app", grouptest.Tag("v1", "DockerImage", "", "quay.io:80/a/b:1"))
	for name, test := range map[string]struct {
		stream *imageapi.ImageStream
		field  string
	}{
		"repository":   {repository, "spec.dockerImageRepository"},
		"tag":          {grouptest.Stream(ns, "app", grouptest.Tag("v1", "DockerImage", "", "evil.example.org/a/b:1")), "spec.tags[v1].from.name"},
		"another port": {insecure, "spec.tags[v1].from.name"},
	} {
		err := create(env, test.stream)
		if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), test.field+": Forbidden: images may not be imported from registry ") || !strings.Contains(err.Error(), "only from quay.io:443") {
			t.Errorf("%s: got %v, want a refusal of %s", name, err, test.field)
		}
	}
	if err := create(env, grouptest.Stream(ns, "app", grouptest.Tag("v1", "DockerImage", "", "quay.io/a/b:1"))); err != nil {
		t.Error(err)
	}

	tag := &imageapi.ImageStreamTag{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "app:v2"}}
	wanted := grouptest.Tag("v2", "DockerImage", "", "evil.example.org/a/b:1")
	tag.Tag = &wanted
	if _, err := env.Tags().Create(env.Request("alice", ns, "imagestreamtags"), tag, rest.ValidateAllObjectFunc, &metav1.CreateOptions{}); !apierrors.IsInvalid(err) {
		t.Errorf("a tag created by itself: %v, want a refusal", err)
	}
	status := env.Stream(ns, "app")
	status.Status.Tags = map[string]imageapi.TagEventList{"v3": {Items: []imageapi.TagEvent{{DockerImageReference: "evil.example.org/a/b:1", Created: metav1.Now()}}}}
	if _, _, err := imagestream.NewStatusREST(env.Streams()).Update(env.Request("alice", ns, "imagestreams"), "app", rest.DefaultUpdatedObjectInfo(status),
		rest.ValidateAllObjectFunc, rest.ValidateAllObjectUpdateFunc, false, &metav1.UpdateOptions{}); !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "status.tags[v3].items[0].dockerImageReference") {
		t.Errorf("a status: %v, want a refusal", err)
	}
}

// Behaviours 44 and 66: a list that became shorter leaves what streams name already.
func TestStreamsStayEditableWhenTheListShrinks(t *testing.T) {
	config := allowing("quay.io")
	env := restricted(t, &config)
	stream := env.CreateStream(grouptest.Stream(ns, "app", grouptest.Tag("v1", "DockerImage", "", "quay.io/a/b:1")))
	config = allowing("registry.example.com")
	stream.Labels = map[string]string{"a": "b"}
	stream = mustUpdate(t, env, stream)
	stream.Spec.Tags["v2"] = grouptest.Tag("v2", "DockerImage", "", "quay.io/a/b:2")
	stream = mustUpdate(t, env, stream)
	stream.Spec.Tags["v3"] = grouptest.Tag("v3", "DockerImage", "", "quay.io/a/other:2")
	if _, err := update(t, env, stream); !apierrors.IsInvalid(err) {
		t.Errorf("another repository of the registry: %v, want a refusal", err)
	}
}

// Who may create images is believed where an image comes from; the list is not for him.
func TestTrustedMappingsNameAnyRegistry(t *testing.T) {
	config := allowing("quay.io")
	env := restricted(t, &config)
	env.CreateStream(grouptest.Stream(ns, "app"))
	foreign := grouptest.Pushed(ns, "app", "foreign")
	foreign.DockerImageReference = "evil.example.org/a/b@" + foreign.Name
	if err := env.Map("registry", ns, "app", "v1", foreign); err != nil {
		t.Error(err)
	}
}

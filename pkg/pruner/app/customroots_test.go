package app

import (
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"image.alauda.io/registry/pkg/pruner/options"
)

// configured is a cluster with a ConfigMap of the pruner.
func configured(t *testing.T, config string, change func(*options.Options)) *fixture {
	t.Helper()
	return newFixture(t, func(o *options.Options) { confirm(o); change(o) }, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: "image-registry-system", Name: "image-pruner-config"},
		Data:       map[string]string{"config.yaml": config},
	})
}

func unchanged(*options.Options) {}

func forbidden(resource string) error {
	return apierrors.NewForbidden(schema.GroupResource{Group: "example.com", Resource: resource}, "", nil)
}

// Behaviour 22. The fixture's revision d and image e are old and unused.
func TestCustomKindsProtect(t *testing.T) {
	const widgets = "roots: [{group: example.com, resource: widgets"
	byDigest := "quay.io/ns/app@" + id("d")
	tests := []struct {
		name   string
		config string
		change func(*options.Options)
		prep   func(*kinds)
		code   int
		// survives: image d is kept. says is part of stderr.
		survives bool
		says     []string
	}{
		{name: "nothing uses it"},
		{name: "a preset", survives: true, prep: func(k *kinds) {
			k.serve("argoproj.io/v1alpha1", "rollouts", "Rollout")
			k.objects["rollouts"] = []map[string]any{using("r", "anything", byDigest)}
		}},
		{name: "a preset that is disabled", config: "disablePresets: [argoproj.io]", prep: func(k *kinds) {
			k.serve("argoproj.io/v1alpha1", "rollouts", "Rollout")
			k.objects["rollouts"] = []map[string]any{using("r", "anything", byDigest)}
		}},
		{name: "a preset that may not be listed", code: 3, says: []string{"rollouts.argoproj.io", "--exclude-root-kind=rollouts.argoproj.io", "pruner roots -o rbac", "spec.excludedRootKinds"}, prep: func(k *kinds) {
			k.serve("argoproj.io/v1alpha1", "rollouts", "Rollout")
			k.errors["rollouts"] = forbidden("rollouts")
		}},
		{name: "two that may not be listed are both named", code: 3, says: []string{"rollouts.argoproj.io", "tasks.tekton.dev"}, prep: func(k *kinds) {
			k.serve("argoproj.io/v1alpha1", "rollouts", "Rollout")
			k.serve("tekton.dev/v1", "tasks", "Task")
			k.errors["rollouts"], k.errors["tasks"] = forbidden("rollouts"), forbidden("tasks")
		}},
		{name: "left out", change: func(o *options.Options) { o.ExcludeRootKinds = []string{"rollouts.argoproj.io"} }, prep: func(k *kinds) {
			k.serve("argoproj.io/v1alpha1", "rollouts", "Rollout")
			k.errors["rollouts"] = forbidden("rollouts")
		}},
		{name: "a path", config: widgets + `, paths: ["{.spec.picture}"]}]`, survives: true, prep: func(k *kinds) {
			k.serve("example.com/v1", "widgets", "Widget")
			k.objects["widgets"] = []map[string]any{using("w", "picture", byDigest)}
		}},
		{name: "another field than the path", config: widgets + `, paths: ["{.spec.picture}"]}]`, prep: func(k *kinds) {
			k.serve("example.com/v1", "widgets", "Widget")
			k.objects["widgets"] = []map[string]any{using("w", "other", byDigest)}
		}},
		{name: "a deep scan", config: widgets + `}]`, survives: true, prep: func(k *kinds) {
			k.serve("example.com/v1", "widgets", "Widget")
			k.objects["widgets"] = []map[string]any{using("w", "other", byDigest)}
		}},
		{name: "not served", config: widgets + `}]`, code: 3, says: []string{"widgets.example.com"}},
		{name: "not served and not required", config: widgets + `, required: false}]`},
		{name: "not listed and not required", config: widgets + `, required: false}]`, prep: func(k *kinds) {
			k.serve("example.com/v1", "widgets", "Widget")
			k.errors["widgets"] = forbidden("widgets")
		}},
		{name: "without a schema it counts", survives: true, prep: func(k *kinds) {
			k.serve("example.com/v1", "widgets", "Widget")
			k.objects["widgets"] = []map[string]any{using("w", "other", byDigest)}
		}},
		{name: "a group that does not answer", code: 3, says: []string{"example.com/v1", "--exclude-root-kind=example.com"}, prep: func(k *kinds) {
			k.failed = map[schema.GroupVersion]error{{Group: "example.com", Version: "v1"}: errUnavailable}
		}},
		{name: "a group without users of images does not answer", prep: func(k *kinds) {
			k.failed = map[schema.GroupVersion]error{{Group: "metrics.k8s.io", Version: "v1beta1"}: errUnavailable}
		}},
		{name: "a whitelist", config: `whitelist: ["^ns/app$"]`, survives: true},
		{name: "an unknown field", config: "root: []", code: 2, says: []string{"image-pruner-config"}},
		{name: "a bad path", config: widgets + `, paths: [".spec.image"]}]`, code: 2, says: []string{"JSONPath"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if test.change == nil {
				test.change = unchanged
			}
			f := configured(t, test.config, test.change)
			f.kinds.objects, f.kinds.errors = map[string][]map[string]any{}, map[string]error{}
			if test.prep != nil {
				test.prep(f.kinds)
			}
			ctx := t.Context()
			err := f.attempts(ctx)
			if code := exitCode(ctx, err); code != test.code {
				t.Fatalf("exit %d, want %d: %v", code, test.code, err)
			}
			changes := strings.Join(f.changes(), " ")
			if test.code != 0 {
				if changes != "" {
					t.Errorf("changed %s", changes)
				}
				for _, want := range test.says {
					if !strings.Contains(err.Error(), want) {
						t.Errorf("%q does not say %q", err, want)
					}
				}
				return
			}
			if got := !strings.Contains(changes, "delete d"); got != test.survives || !strings.Contains(changes, "delete e") {
				t.Errorf("changes %q, survives %v, want %v", changes, got, test.survives)
			}
		})
	}
}

func TestFailuresOfCustomKindsAreRetried(t *testing.T) {
	f := newFixture(t, func(o *options.Options) { confirm(o); o.Retries = 1 })
	f.kinds.serve("tekton.dev/v1", "tasks", "Task")
	f.kinds.errors = map[string]error{"tasks": apierrors.NewServiceUnavailable("later")}
	err := f.attempts(t.Context())
	var exit *exitError
	if !errors.As(err, &exit) || exit.code != exitReferences || !exit.again {
		t.Errorf("%v", err)
	}
}

//go:build component

package crd

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"

	imageregistryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/client-go/clientset/versioned"
)

func TestPrunerSpec(t *testing.T) {
	client := install(t)
	for _, tc := range []struct{ name, spec, field, words string }{
		{"negative revisions", `{keepTagRevisions: -1}`, "spec.keepTagRevisions", "greater than or equal to 0"},
		{"negative age", `{keepYoungerThanDuration: "-1h"}`, "spec.keepYoungerThanDuration", "should match"},
		{"age without unit", `{keepYoungerThanDuration: "60"}`, "spec.keepYoungerThanDuration", "should match"},
		{"deadline", `{startingDeadlineSeconds: 9}`, "spec.startingDeadlineSeconds", "greater than or equal to 10"},
		{"revisions in words", `{keepTagRevisions: all}`, "spec.keepTagRevisions", "must be of type integer"},
		{"half a revision", `{keepTagRevisions: 1.5}`, "spec.keepTagRevisions", "must be of type integer"},
		{"age in days", `{keepYoungerThanDuration: 3d}`, "spec.keepYoungerThanDuration", "should match"},
		{"age as a number", `{keepYoungerThanDuration: 60}`, "spec.keepYoungerThanDuration", "must be of type string"},
		{"no age", `{keepYoungerThanDuration: ""}`, "spec.keepYoungerThanDuration", "should match"},
		{"age of two lines", `{keepYoungerThanDuration: "60m\n"}`, "spec.keepYoungerThanDuration", "should match"},
		{"age beyond the type", `{keepYoungerThanDuration: 99999999999h}`, "spec.keepYoungerThanDuration", "duration"},
		{"minutes in place of nanoseconds", `{keepYoungerThan: 60}`, "spec.keepYoungerThan", "is in nanoseconds"},
		{"negative nanoseconds", `{keepYoungerThan: -1}`, "spec.keepYoungerThan", "greater than or equal to 0"},
		{"schedule of any length", `{schedule: "` + strings.Repeat("*", 257) + `"}`, "spec.schedule", "Too long"},
		{"zone of any length", `{timeZone: "` + strings.Repeat("z", 129) + `"}`, "spec.timeZone", "Too long"},
		{"suspended in words", `{suspend: "yes"}`, "spec.suspend", "must be of type boolean"},
		{"ignoring in words", `{ignoreInvalidImageReferences: "true"}`, "spec.ignoreInvalidImageReferences", "must be of type boolean"},
		{"collecting in words", `{pruneRegistry: 1}`, "spec.pruneRegistry", "must be of type boolean"},
		{"resources in words", `{resources: {limits: {memory: much}}}`, "spec.resources.limits.memory", "should match"},
		{"late for ever", `{startingDeadlineSeconds: 9223372037}`, "spec.startingDeadlineSeconds", "less than or equal to"},
		{"no time to run", `{activeDeadlineSeconds: 0}`, "spec.activeDeadlineSeconds", "greater than or equal to 1"},
		{"time beyond all clocks", `{activeDeadlineSeconds: 9223372036854775807}`, "spec.activeDeadlineSeconds", "less than or equal to"},
		{"endless history", `{successfulJobsHistoryLimit: 1001}`, "spec.successfulJobsHistoryLimit", "less than or equal to 1000"},
		{"endless history of failures", `{failedJobsHistoryLimit: 2147483647}`, "spec.failedJobsHistoryLimit", "less than or equal to 1000"},
		{"negative history", `{successfulJobsHistoryLimit: -1}`, "spec.successfulJobsHistoryLimit", "greater than or equal to 0"},
		{"history", `{failedJobsHistoryLimit: -1}`, "spec.failedJobsHistoryLimit", "greater than or equal to 0"},
		{"no group", `{excludedRootKinds: [widgets]}`, "spec.excludedRootKinds[0]", "should match"},
		{"capitals", `{excludedRootKinds: [Widgets.example.com]}`, "spec.excludedRootKinds[0]", "should match"},
		{"a line", `{excludedRootKinds: ["widgets.example.com\n--confirm"]}`, "spec.excludedRootKinds[0]", "should match"},
		{"too long a name", `{excludedRootKinds: [` + strings.Repeat("a.", 130) + `com]}`, "spec.excludedRootKinds[0]", "Too long"},
		{"built in", `{excludedRootKinds: [widgets.example.com, deployments.apps]}`, "spec.excludedRootKinds", "always read"},
		{"the same twice", `{excludedRootKinds: [tekton.dev, tekton.dev]}`, "spec.excludedRootKinds[1]", "Duplicate"},
		{"too many", `{excludedRootKinds: [` + many(101) + `]}`, "spec.excludedRootKinds", "Too many"},
		{"log level", `{logLevel: 5}`, "spec.logLevel", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := try(t, client, pruner(t, tc.spec))
			wantRefusal(t, err, tc.field, tc.words)
		})
	}
	object, err := try(t, client, pruner(t, `{}`))
	if err != nil {
		t.Fatalf("an empty spec: %v, want it accepted", err)
	}
	if level, _, _ := unstructured.NestedString(object.Object, "spec", "logLevel"); level != "Normal" {
		t.Errorf("logLevel is %q, want Normal", level)
	}
	if value, found, _ := unstructured.NestedFieldNoCopy(object.Object, "spec", "keepTagRevisions"); found {
		t.Errorf("keepTagRevisions has the default %v, want none: the operator applies it", value)
	}
	if _, err := try(t, client, pruner(t, `{keepTagRevisions: 0, keepYoungerThanDuration: 1h30m, keepYoungerThan: 3600000000000, pruneRegistry: true, excludedRootKinds: [tekton.dev, widgets.example.com, `+many(98)+`]}`)); err != nil {
		t.Errorf("a full spec: %v, want it accepted", err)
	}
}

// many are so many kinds to leave out.
func many(count int) string {
	var kinds []string
	for i := range count {
		kinds = append(kinds, fmt.Sprintf("kind%d.example.com", i))
	}
	return strings.Join(kinds, ", ")
}

func TestPrintedColumns(t *testing.T) {
	install(t)
	for resource, want := range map[schema.GroupVersionResource][]string{
		configs: {"Name", "State", "Available", "Progressing", "Degraded", "Ready", "Age"},
		pruners: {"Name", "Schedule", "Suspend", "Last Run", "Result", "Age"},
		images:  {"Name", "True Name", "Size", "Age"},
		streams: {"Name", "True Name", "Size", "Age"},
	} {
		config := rest.CopyConfig(shared.Get(t).Config)
		config.NegotiatedSerializer = scheme.Codecs.WithoutConversion()
		config.AcceptContentTypes = "application/json;as=Table;v=v1;g=meta.k8s.io"
		gv := resource.GroupVersion()
		config.GroupVersion, config.APIPath = &gv, "/apis"
		client, err := rest.RESTClientFor(config)
		if err != nil {
			t.Fatal(err)
		}
		data, err := client.Get().Resource(resource.Resource).Do(t.Context()).Raw()
		if err != nil {
			t.Fatalf("table of %s: %v", resource.Resource, err)
		}
		var table metav1.Table
		if err := json.Unmarshal(data, &table); err != nil {
			t.Fatalf("table of %s: %v", resource.Resource, err)
		}
		var columns []string
		for _, column := range table.ColumnDefinitions {
			columns = append(columns, column.Name)
		}
		if !slices.Equal(columns, want) {
			t.Errorf("columns of %s are %v, want %v", resource.Resource, columns, want)
		}
	}
}

func TestDiscovery(t *testing.T) {
	install(t)
	client, err := discovery.NewDiscoveryClientForConfig(shared.Get(t).Config)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		resource   schema.GroupVersionResource
		namespaced bool
		status     bool
	}{{configs, false, true}, {pruners, false, true}, {images, false, false}, {streams, true, false}} {
		list, err := client.ServerResourcesForGroupVersion(tc.resource.GroupVersion().String())
		if err != nil {
			t.Fatal(err)
		}
		var found, status bool
		for _, resource := range list.APIResources {
			switch resource.Name {
			case tc.resource.Resource:
				found = true
				if resource.Namespaced != tc.namespaced || len(resource.ShortNames)+len(resource.Categories) > 0 {
					t.Errorf("%s: %+v, want namespaced %v and neither short names nor categories", resource.Name, resource, tc.namespaced)
				}
			case tc.resource.Resource + "/status":
				status = true
			}
		}
		if !found || status != tc.status {
			t.Errorf("%s: served %v, status subresource %v, want true and %v", tc.resource.Resource, found, status, tc.status)
		}
	}
}

// The typed client writes what the schema accepts: unset fields are left out and
// get their defaults.
func TestTypedClient(t *testing.T) {
	install(t)
	client, err := versioned.NewForConfig(shared.Get(t).Config)
	if err != nil {
		t.Fatal(err)
	}
	object := &imageregistryv1.Config{Spec: imageregistryv1.ConfigSpec{ManagementState: imageregistryv1.Managed}}
	object.Name = imageregistryv1.SingletonName
	created, err := client.ImageregistryV1().Configs().Create(t.Context(), object, metav1.CreateOptions{
		DryRun: []string{metav1.DryRunAll}, FieldValidation: metav1.FieldValidationStrict,
	})
	if err != nil {
		t.Fatalf("create: %v", err)
	}
	secrets := created.Spec.ImagePullSecret
	if secrets.TokenAudience == nil || *secrets.TokenAudience != imageregistryv1.DefaultTokenAudience {
		t.Errorf("token audience is %v, want %s", secrets.TokenAudience, imageregistryv1.DefaultTokenAudience)
	}
	if created.Spec.Replicas == nil || *created.Spec.Replicas != imageregistryv1.DefaultReplicas {
		t.Errorf("replicas are %v, want %d", created.Spec.Replicas, imageregistryv1.DefaultReplicas)
	}
}

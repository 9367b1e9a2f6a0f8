//go:build component

package operator

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	registryv1 "image.alauda.io/api/imageregistry/v1"
)

// Behaviours 74 and 75: no value of any field of ImagePruner goes wrong in silence. The schema refuses it and names the
// field, or ImagePruner is Degraded with the field and the fix while the CronJob stays as it was. Taking it back heals.
func TestBadSettingsOfThePrunerLeaveTheLastGoodCronJob(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.waitFor(registryv1.ConditionRemoved, registryv1.ConditionTrue, registryv1.ReasonRemoved)
	c.waitForPruner("Available=True/AsExpected", "Degraded=False/AsExpected")
	before := c.cronJob()
	patch := func(spec string) error {
		_, err := c.dynamic.Resource(configs.GroupVersion().WithResource("imagepruners")).Patch(t.Context(), registryv1.SingletonName, types.MergePatchType, []byte(`{"spec":`+spec+`}`), metav1.PatchOptions{})
		return err
	}
	const long = 9223372036854775807
	var covered []string
	for _, test := range []struct {
		field string
		// refused are values that the schema refuses, reported those that the operator does, each with its words.
		refused  []string
		reported map[string]string
	}{
		{"schedule", []string{`5`, `["0 0 * * *"]`, `"` + strings.Repeat("*", 257) + `"`}, map[string]string{
			`" "`: "spec.schedule", `"60 * * * *"`: "spec.schedule", `"0 0 * *"`: "spec.schedule", `"0 0 * * * *"`: "spec.schedule", `"-1 0 * * *"`: "spec.schedule",
			`"@never"`: "spec.schedule", `"\u0001"`: "spec.schedule", `"００ 0 * * *"`: "spec.schedule", `"TZ=UTC 0 0 * * *"`: "spec.timeZone",
		}},
		{"timeZone", []string{`1`, `"` + strings.Repeat("z", 129) + `"`}, map[string]string{
			`""`: "spec.timeZone", `" "`: "spec.timeZone", `"Mars/Base"`: "spec.timeZone", `"../../etc/passwd"`: "spec.timeZone", `"/etc/localtime"`: "spec.timeZone", `"UTC\n"`: "spec.timeZone",
		}},
		{"suspend", []string{`"true"`, `1`}, nil},
		{"keepTagRevisions", []string{`-1`, `"3"`, `1.5`, `4294967296`}, nil},
		{"keepYoungerThanDuration", []string{`""`, `" "`, `"-1h"`, `"60"`, `60`, `"3d"`, `"1h "`, `"1h\n"`, `"99999999999h"`}, nil},
		{"keepYoungerThan", []string{`-1`, `60`, `3600`, `"60m"`, `1.5`}, nil},
		{"resources", []string{`"1Gi"`, `{"limits":{"memory":"much"}}`, `{"limits":"1Gi"}`}, map[string]string{
			`{"limits":{"memory":"-1"}}`:                               "correct spec.resources of ImagePruner cluster",
			`{"limits":{"bad resource!":"1"}}`:                         "correct spec.resources of ImagePruner cluster",
			`{"limits":{"memory":"512m"}}`:                             "spec.resources.limits.memory of ImagePruner cluster is 512m",
			`{"limits":{"memory":"64Mi"},"requests":{"memory":"1Gi"}}`: "correct spec.resources of ImagePruner cluster",
		}},
		{"affinity", []string{`"near"`, `{"nodeAffinity":[]}`}, map[string]string{
			`{"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[]}}}`: "correct spec.affinity of ImagePruner cluster",
		}},
		{"nodeSelector", []string{`"disk=fast"`, `{"disk":1}`}, map[string]string{
			`{"bad key!":"x"}`: "correct spec.nodeSelector of ImagePruner cluster", `{"disk":"` + strings.Repeat("x", 10_000) + `"}`: "correct spec.nodeSelector of ImagePruner cluster",
		}},
		{"tolerations", []string{`{"key":"a"}`, `[{"tolerationSeconds":"1m"}]`}, map[string]string{
			`[{"key":"a","operator":"Perhaps"}]`: "correct spec.tolerations of ImagePruner cluster", `[{"effect":"Never"}]`: "correct spec.tolerations of ImagePruner cluster",
			`[` + strings.Repeat(`{"key":"a","operator":"Perhaps"},`, 499) + `{"operator":"Perhaps"}]`: "more; correct spec.tolerations of ImagePruner cluster",
		}},
		{"successfulJobsHistoryLimit", []string{`-1`, `1001`, `"3"`}, nil},
		{"failedJobsHistoryLimit", []string{`-1`, `1001`, `"3"`}, nil},
		{"startingDeadlineSeconds", []string{`-1`, `0`, `9`, fmt.Sprint(long), `"1h"`}, nil},
		{"activeDeadlineSeconds", []string{`-1`, `0`, fmt.Sprint(long), `"1h"`}, nil},
		{"ignoreInvalidImageReferences", []string{`"true"`, `1`}, nil},
		{"excludedRootKinds", []string{`"tekton.dev"`, `["widgets"]`, `[""]`, `["Widgets.example.com"]`, `["a.b\n--confirm"]`, `["jobs.batch"]`, `["a.b","a.b"]`, `["b\u00fccher.example.com"]`}, nil},
		{"logLevel", []string{`"Loud"`, `5`, `"debug"`, `" "`}, nil},
		{"pruneRegistry", []string{`"true"`, `1`}, nil},
	} {
		covered = append(covered, test.field)
		name := func(value string) string { return fmt.Sprintf("%s: %.100s", test.field, value) }
		for _, value := range test.refused {
			err := patch(`{"` + test.field + `":` + value + `}`)
			if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "spec."+test.field) {
				t.Errorf("%s: %v, want it refused by the schema with the name of the field", name(value), err)
			}
		}
		for value, words := range test.reported {
			if err := patch(`{"` + test.field + `":` + value + `}`); err != nil {
				t.Errorf("%s: %v, want it named by the operator", name(value), err)
				continue
			}
			c.eventually(name(value)+" is named", func() (bool, string) { return degradedWith(c.pruner(), words) })
			if after := c.cronJob(); after.Generation != before.Generation {
				t.Errorf("%s: the CronJob was changed: %+v", name(value), after.Spec)
				before = after
			}
			if err := patch(`{"` + test.field + `":null}`); err != nil {
				t.Fatalf("%s: take it back: %v", name(value), err)
			}
			c.eventually(name(value)+" is taken back", func() (bool, string) {
				pruner := c.pruner()
				return conditionIn(pruner.Status.Conditions, registryv1.ConditionPrunerDegraded).Status == registryv1.ConditionFalse &&
					pruner.Status.ObservedGeneration == pruner.Generation, fmt.Sprintf("%.2000v", pruner.Status)
			})
		}
	}
	for _, field := range fieldsOf(registryv1.ImagePrunerSpec{}) {
		if !slices.Contains(covered, field) {
			t.Errorf("field %s has no bad values here", field)
		}
	}
}

// degradedWith says whether an ImagePruner was looked at and both conditions tell of a field, in a text of bearable length.
func degradedWith(pruner *registryv1.ImagePruner, words string) (bool, string) {
	degraded := conditionIn(pruner.Status.Conditions, registryv1.ConditionPrunerDegraded)
	available := conditionIn(pruner.Status.Conditions, registryv1.ConditionPrunerAvailable)
	return pruner.Status.ObservedGeneration == pruner.Generation &&
		degraded.Status == registryv1.ConditionTrue && strings.Contains(degraded.Message, words) && strings.Contains(degraded.Message, "ImagePruner cluster") &&
		len(degraded.Message) < 1200 && available.Status == registryv1.ConditionFalse, fmt.Sprintf("%.3000v", pruner.Status)
}

func conditionIn(conditions []registryv1.OperatorCondition, kind string) registryv1.OperatorCondition {
	for _, condition := range conditions {
		if condition.Type == kind {
			return condition
		}
	}
	return registryv1.OperatorCondition{}
}

// fieldsOf are the names of the fields of a spec as they are written in YAML.
func fieldsOf(spec any) []string {
	var out []string
	for field := range reflect.TypeOf(spec).Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		out = append(out, name)
	}
	return out
}

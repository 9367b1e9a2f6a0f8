package registryconfig

import (
	"context"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/ptr"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/bootstrap"
	"image.alauda.io/registry/pkg/operator/fault"
)

// What the schema refuses today may be stored all the same: the fault names the field, what it is, and the fix.
func TestAnUnsoundSpecIsNamed(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*registryv1.ConfigSpec)
		want   string
	}{
		"a state of another product": {func(s *registryv1.ConfigSpec) { s.ManagementState = "Force" }, `spec.managementState of Config cluster is "Force"; set it to`},
		"no state":                   {func(s *registryv1.ConfigSpec) { s.ManagementState = "" }, `spec.managementState`},
		"a log level":                {func(s *registryv1.ConfigSpec) { s.LogLevel = "Loud" }, `spec.logLevel of Config cluster is "Loud"`},
		"the operator's log level":   {func(s *registryv1.ConfigSpec) { s.OperatorLogLevel = "Loud" }, `spec.operatorLogLevel`},
		"fewer than no replicas":     {func(s *registryv1.ConfigSpec) { s.Replicas = ptr.To[int32](-1) }, `spec.replicas of Config cluster is -1; set it to 0 or more`},
		"no API server":              {func(s *registryv1.ConfigSpec) { s.ImageAPI.Replicas = ptr.To[int32](0) }, `spec.imageAPI.replicas of Config cluster is 0`},
		"two replicas without a volume": {func(s *registryv1.ConfigSpec) {
			s.Replicas, s.Storage.EmptyDir = ptr.To[int32](2), &registryv1.EmptyDirStorage{}
		}, `spec.replicas of Config cluster is 2; set it to 1`},
		"a strategy":         {func(s *registryv1.ConfigSpec) { s.RolloutStrategy = "Blue" }, `spec.rolloutStrategy`},
		"a storage state":    {func(s *registryv1.ConfigSpec) { s.Storage.ManagementState = "Removed" }, `spec.storage.managementState`},
		"a negative limit":   {func(s *registryv1.ConfigSpec) { s.Requests.Write.MaxInQueue = -3 }, `spec.requests.write.maxInQueue of Config cluster is -3`},
		"a word of any size": {func(s *registryv1.ConfigSpec) { s.LogLevel = registryv1.LogLevel(strings.Repeat("x", 1e6)) }, `spec.logLevel`},
	} {
		t.Run(name, func(t *testing.T) {
			spec := bootstrap.DefaultConfig().Spec
			test.change(&spec)
			permanent := fault.Sort(sound(spec)).Permanent
			if len(permanent) != 1 || permanent[0].Reason != registryv1.ReasonVerificationFailed {
				t.Fatalf("got %v", permanent)
			}
			if text := permanent[0].Message; !strings.Contains(text, test.want) || len(text) > 400 {
				t.Errorf("got %.500q, want %q", text, test.want)
			}
		})
	}
	if err := sound(bootstrap.DefaultConfig().Spec); err != nil {
		t.Errorf("the default: %v", err)
	}
}

// An unsound spec degrades at once, and neither applies nor deletes anything.
func TestAnUnsoundSpecChangesNothing(t *testing.T) {
	config := bootstrap.DefaultConfig()
	config.Spec.ManagementState = "Force"
	f := newFixture(t, config, ownedObject("apps/v1", "Deployment", "ns", "image-registry"))
	f.fill(t)
	f.sync(t)
	if changes := f.changes(); len(changes) > 0 {
		t.Errorf("requests: %v", changes)
	}
	if got := conditionStatus(f.config(t).Status.Conditions, registryv1.ConditionDegraded); got != registryv1.ConditionTrue {
		t.Errorf("Degraded=%s", got)
	}
}

// A spec that cannot be decoded is one that everybody leaves alone, with the metadata and status that it has.
func TestAConfigThatCannotBeDecoded(t *testing.T) {
	object := &unstructured.Unstructured{Object: map[string]any{
		"metadata": map[string]any{"name": "cluster", "uid": "u", "generation": int64(4), "resourceVersion": "7", "finalizers": []any{"f"}},
		"spec":     map[string]any{"managementState": "Removed", "replicas": "two"},
		"status":   map[string]any{"version": "v1"},
	}}
	config, err := Readable(object)
	if err == nil || config.Spec.ManagementState != registryv1.Unmanaged || config.Status.Version != "v1" || config.Generation != 4 {
		t.Errorf("error %v, state %q, status %+v", err, config.Spec.ManagementState, config.Status)
	}
	object.Object["status"] = "nonsense"
	config, err = Readable(object)
	if err == nil || config.Name != "cluster" || config.ResourceVersion != "7" || len(config.Finalizers) != 1 {
		t.Errorf("error %v, %+v", err, config.ObjectMeta)
	}
	object.Object["status"], object.Object["spec"] = map[string]any{}, map[string]any{"managementState": "Removed"}
	if config, err = Readable(object); err != nil || config.Spec.ManagementState != registryv1.Removed {
		t.Errorf("a good one: %v, %q", err, config.Spec.ManagementState)
	}
}

func TestTheFaultOfTheAPIServerIsReadFromItsPods(t *testing.T) {
	ended := func(message string, code int32) *corev1.Pod {
		return &corev1.Pod{Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{
			LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Message: message, ExitCode: code}},
		}}}}
	}
	text := `{"level":"error","msg":"AggregationLayerDisabled: ConfigMap kube-system/extension-apiserver-authentication has no …"}`
	for name, test := range map[string]struct {
		pod  *corev1.Pod
		want bool
	}{
		"ended for it": {ended(text, 1), true}, "ended well": {ended(text, 0), false},
		"ended for something else": {ended("no route to host", 1), false}, "never ended": {&corev1.Pod{}, false},
	} {
		if got := aggregationDisabled(test.pod); got != test.want {
			t.Errorf("%s: %t", name, got)
		}
	}
	f := newFixture(t, bootstrap.DefaultConfig())
	if err := f.serverFault(context.Background()); err != nil {
		t.Errorf("without a Deployment: %v", err)
	}
}

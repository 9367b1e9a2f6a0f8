package registryconfig

import (
	"strings"
	"testing"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/fault"
	"image.alauda.io/registry/pkg/operator/storage/preflight"
)

// untested is for tests without an object store.
type untested struct{}

func (*untested) Look(preflight.Request) preflight.Verdict { return preflight.Verdict{} }
func (*untested) Forget()                                  {}

// Behaviours 47, 48, 50 and 53: what a verdict means for conditions and for what runs.
func TestJudge(t *testing.T) {
	failed := func(reason string) preflight.Verdict {
		return preflight.Verdict{Known: true, Result: preflight.Result{Step: preflight.StepWrite, Reason: reason, Code: "Code", Text: "says the provider"}}
	}
	before := []registryv1.OperatorCondition{
		{Type: registryv1.ConditionStorageExists, Status: "True", Reason: registryv1.ReasonBucketExists},
		{Type: registryv1.ConditionStorageReady, Status: "True", Reason: registryv1.ReasonReady},
	}
	for name, test := range map[string]struct {
		verdict       preflight.Verdict
		accepted      bool
		exists, ready string
		class         string
		proceed       bool
	}{
		"not tested yet":               {preflight.Verdict{}, false, "Unknown/ConfigurationChanged", "Unknown/ConfigurationChanged", "waiting", false},
		"not tested since the restart": {preflight.Verdict{}, true, "True/BucketExists", "True/Ready", "", true},
		"good":                         {preflight.Verdict{Known: true, Result: preflight.Result{OK: true}}, false, "True/BucketExists", "True/Ready", "", true},
		"no bucket":                    {failed(registryv1.ReasonBucketNotFound), false, "False/BucketNotFound", "False/BucketNotFound", "permanent", false},
		"bucket gone":                  {failed(registryv1.ReasonBucketNotFound), true, "False/BucketDeleted", "False/BucketNotFound", "permanent", true},
		"denied":                       {failed(registryv1.ReasonStorageAccessDenied), false, "False/AccessDenied", "False/StorageAccessDenied", "permanent", false},
		"wrong region":                 {failed(registryv1.ReasonInvalidStorageConfiguration), false, "Unknown/UnknownError", "False/InvalidStorageConfiguration", "permanent", false},
		"unreachable":                  {failed(""), false, "Unknown/UnknownError", "False/StoragePreflightFailed", "transient", false},
		"unreachable for a while":      {failed(""), true, "Unknown/UnknownError", "False/StoragePreflightFailed", "transient", true},
	} {
		t.Run(name, func(t *testing.T) {
			got := judge("bucket \"images\"", test.verdict, test.accepted, before)
			if e := string(got.exists.Status) + "/" + got.exists.Reason; e != test.exists {
				t.Errorf("StorageExists %s, want %s", e, test.exists)
			}
			if r := string(got.ready.Status) + "/" + got.ready.Reason; r != test.ready {
				t.Errorf("StorageReady %s, want %s", r, test.ready)
			}
			classes := fault.Sort(got.err)
			class := strings.Repeat("permanent", len(classes.Permanent)) + strings.Repeat("waiting", len(classes.Waiting)) + strings.Repeat("transient", len(classes.Transient))
			if class != test.class || got.proceed != test.proceed {
				t.Errorf("class %q, proceeds %t; want %q, %t", class, got.proceed, test.class, test.proceed)
			}
			if test.verdict.Known && !test.verdict.OK {
				if text := got.err.Error(); !strings.Contains(text, "write") || !strings.Contains(text, "Code: says the provider") || !strings.Contains(text, "images") {
					t.Errorf("message %q", text)
				}
			}
		})
	}
}

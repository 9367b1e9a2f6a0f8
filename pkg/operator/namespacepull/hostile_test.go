package namespacepull

import (
	"fmt"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
)

// writtenBy is the RoleBinding of the operator, with a mark that the manager wrote.
func writtenBy(manager string) *rbacv1.RoleBinding {
	binding := newBinding("team")
	binding.ManagedFields = []metav1.ManagedFieldsEntry{{
		Manager: manager, Operation: metav1.ManagedFieldsOperationUpdate, FieldsType: "FieldsV1",
		FieldsV1: metav1.NewFieldsV1(`{"f:metadata":{"f:annotations":{".":{},"f:` + ownedAnnotation + `":{}}}}`),
	}}
	return binding
}

// Behaviour 71. The RoleBinding that somebody copied from another namespace is his own, and stays.
func TestACopiedMarkIsNotBelieved(t *testing.T) {
	for manager, want := range map[string]Action{fieldManager: Delete, "kubectl-client-side-apply": Keep} {
		binding := writtenBy(manager)
		for _, form := range []string{"live", "cached", "cached again"} {
			if got := Decide(Input{Revoke: true, Binding: binding}); got != want {
				t.Errorf("%s, written by %s: %s, want %s", form, manager, got, want)
			}
			object, err := trim(binding)
			if err != nil {
				t.Fatal(err)
			}
			binding = object.(*rbacv1.RoleBinding)
		}
		if len(binding.ManagedFields)+len(binding.Subjects)+len(binding.Labels) > 0 || !bindsPuller(binding) || binding.Namespace != "team" {
			t.Errorf("cached: %+v", binding)
		}
	}
}

// A RoleBinding that is made anew all the time fills neither the list of events nor the memory.
func TestReportsAreRare(t *testing.T) {
	clock := clocktesting.NewFakeClock(time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC))
	events := 0
	c := &Controller{reported: map[string]time.Time{}, Options: Options{Clock: clock, Events: func(string, string, string) { events++ }}}
	binding := newBinding("team")
	for i := range 121 {
		binding.UID = types.UID(fmt.Sprint(i))
		c.report(Input{Binding: binding})
		clock.Step(time.Minute)
	}
	if events != 3 || len(c.reported) != 1 {
		t.Errorf("%d events in two hours, %d namespaces kept", events, len(c.reported))
	}
}

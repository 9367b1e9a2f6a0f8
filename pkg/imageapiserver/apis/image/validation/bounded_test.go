package validation

import (
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

func TestBoundedNamesSomeAndCountsTheRest(t *testing.T) {
	path := field.NewPath("spec", "tags")
	for count, want := range map[int]int{0: 0, 1: 1, MaxErrors: MaxErrors, MaxErrors + 1: MaxErrors + 1, 100_000: MaxErrors + 1} {
		var errs field.ErrorList
		for i := range count {
			errs = append(errs, field.Required(path.Index(i), ""))
		}
		got := Bounded(errs)
		if len(got) != want {
			t.Errorf("of %d mistakes %d are named, want %d", count, len(got), want)
		}
		if more := count - MaxErrors; more > 0 {
			last := got[len(got)-1]
			if last.Field != path.Index(MaxErrors).String() || !strings.Contains(last.Error(), fmt.Sprint(more, " more")) {
				t.Errorf("of %d mistakes the last is %v", count, last)
			}
		}
		if len(errs) > MaxErrors && errs[MaxErrors].Field != path.Index(MaxErrors).String() {
			t.Error("the list of the caller changed")
		}
	}
}

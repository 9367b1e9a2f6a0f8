package installed

import (
	"slices"
	"testing"
)

func TestTracesAreHeldToWholePatterns(t *testing.T) {
	unknown, missing := Beyond([]string{"Role ns/a", "Role ns/ab", "Secret ns/c"}, "Role ns/a", `Secret ns/\w`, "Lease ns/d")
	if !slices.Equal(unknown, []string{"Role ns/ab"}) || !slices.Equal(missing, []string{"Lease ns/d"}) {
		t.Errorf("unknown %q, missing %q", unknown, missing)
	}
}

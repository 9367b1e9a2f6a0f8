package main

import (
	"os"
	"slices"
	"testing"
)

// TestMain makes the test binary what the program is in its other roles.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && slices.Contains([]string{serveRole, pruneRole}, os.Args[1]) {
		main()
	}
	os.Exit(m.Run())
}

// Behaviour pruner 61: memory in the small size of the budget. Time and the large size depend on the machine and
// are left to make bench-pruner.
func TestMemoryStaysWithinTheBudget(t *testing.T) {
	const images = 10000
	r, err := measure(t.Context(), images, "")
	if err != nil {
		t.Fatal(err)
	}
	limit, memory := budget(images)
	t.Logf("%d images in %s, budget %s; peak of %d MiB, budget %d MiB", r.images, r.took, limit, r.peak>>10, memory)
	if r.peak == 0 || r.peak >= memory<<10 {
		t.Errorf("the pruner had %d KiB, want less than %d MiB", r.peak, memory)
	}
	if r.requests == 0 || r.summary == "" {
		t.Errorf("nothing was planned: %+v", r)
	}
}

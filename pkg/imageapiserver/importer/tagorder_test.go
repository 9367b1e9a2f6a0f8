package importer

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Behaviour 36.
func TestTagsAreSortedByImportance(t *testing.T) {
	for name, test := range map[string]struct{ tags, want []string }{
		"latest, minor, full, others": {
			tags: []string{"stable", "1.2.3", "latest", "1.2", "alpine", "v2.0.0", "2.0"},
			want: []string{"latest", "2.0", "1.2", "v2.0.0", "1.2.3", "alpine", "stable"},
		},
		"an empty name means latest":           {tags: []string{"b", ""}, want: []string{"latest", "b"}},
		"numbers are compared as numbers":      {tags: []string{"5.9", "5.10", "5.1"}, want: []string{"5.10", "5.9", "5.1"}},
		"numbers larger than an integer":       {tags: []string{"1.99999999999999999999", "1.100000000000000000000"}, want: []string{"1.100000000000000000000", "1.99999999999999999999"}},
		"a release is newer than its previews": {tags: []string{"5.1-rc1", "5.1", "5.1-rc.2", "5.1-rc.10", "5.1-1"}, want: []string{"5.1", "5.1-rc1", "5.1-rc.10", "5.1-rc.2", "5.1-1"}},
		"without prefix before with prefix":    {tags: []string{"v1.0.0", "1.0.0", "v1.0.1"}, want: []string{"v1.0.1", "1.0.0", "v1.0.0"}},
		"majors alone are no versions":         {tags: []string{"8", "10", "v9"}, want: []string{"10", "8", "v9"}},
		"repeated names count once":            {tags: []string{"a", "a", "latest", ""}, want: []string{"latest", "a"}},
		"leading zeros":                        {tags: []string{"1.02", "1.2", "1.3"}, want: []string{"1.3", "1.02", "1.2"}},
		"nothing":                              {tags: nil, want: []string{}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, prioritise(test.tags)); diff != "" {
				t.Errorf("order (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTagLimitStaysWithinWhatIsAllowed(t *testing.T) {
	for _, test := range []struct{ asked, configured, want int }{
		{0, 50, 50}, {0, -1, 500}, {10, 50, 10}, {-1, 50, 500}, {1000, 50, 500}, {0, 10000, 500},
	} {
		if got := tagLimit(test.asked, test.configured); got != test.want {
			t.Errorf("tagLimit(%d, %d) = %d, want %d", test.asked, test.configured, got, test.want)
		}
	}
}

// The order has to be a total one whatever names a registry invents: a sort with
// contradictions gives another order for every order of the input.
func FuzzTagOrder(f *testing.F) {
	f.Add("latest,1.2,v1.2,1.2-rc1,1.2.3,1.2-1..a,1.2-a-b,1.2-.,x")
	f.Add("5.1-rc.1,5.1-rc.x,5.1-rc..,5.1-,v5.1-0")
	f.Fuzz(func(t *testing.T, list string) {
		names := strings.Split(list, ",")
		if len(names) > 12 {
			names = names[:12]
		}
		want := prioritise(names)
		reversed := slices.Clone(names)
		slices.Reverse(reversed)
		if diff := cmp.Diff(want, prioritise(reversed)); diff != "" {
			t.Fatalf("another order for reversed input (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(want, prioritise(want)); diff != "" {
			t.Fatalf("sorting twice differs (-want +got):\n%s", diff)
		}
		for i, a := range want {
			for j, b := range want {
				if got := compareTags(rankTag(a), rankTag(b)); (got < 0) != (i < j) || (got == 0) != (i == j) {
					t.Fatalf("compare %q at %d with %q at %d: %d", a, i, b, j, got)
				}
			}
		}
	})
}

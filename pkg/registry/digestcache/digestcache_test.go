package digestcache

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	testingclock "k8s.io/utils/clock/testing"
)

type counts struct{ hits, misses, scopedHits, scopedMisses int }

func (c *counts) DigestCacheUsed(scoped, hit bool) {
	switch {
	case scoped && hit:
		c.scopedHits++
	case scoped:
		c.scopedMisses++
	case hit:
		c.hits++
	default:
		c.misses++
	}
}

func newCache(t *testing.T, change ...func(*Options)) (*Cache, *testingclock.FakeClock) {
	t.Helper()
	clock := testingclock.NewFakeClock(time.Now())
	options := DefaultOptions()
	options.Now = clock.Now
	for _, apply := range change {
		apply(&options)
	}
	cache, err := New(options)
	if err != nil {
		t.Fatal(err)
	}
	return cache, clock
}

func blob(i int) digest.Digest { return digest.FromString(fmt.Sprint(i)) }

func has(t *testing.T, c *Cache, repository string, d digest.Digest, want bool) {
	t.Helper()
	if _, found := c.Blob(repository, d); found != want {
		t.Errorf("%s in %s: found %t, want %t", d, repository, found, want)
	}
}

// Behaviour 79.
func TestWhatIsKnownEndsOneTTLAfterTheDigestCameIn(t *testing.T) {
	c, clock := newCache(t)
	c.AddBlob(c.Mark(), "team/app", blob(1), 7)
	clock.Step(4 * time.Minute)
	c.AddBlob(c.Mark(), "team/other", blob(1), SizeUnknown)
	if size, found := c.Blob("team/other", blob(1)); !found || size != 7 {
		t.Errorf("size %d, found %t, want 7 as it was learned before", size, found)
	}
	clock.Step(time.Minute)
	has(t, c, "team/app", blob(1), false)
	has(t, c, "team/other", blob(1), false)
	if c.names != 0 || len(c.digests) != 0 {
		t.Errorf("%d names and %d digests are left", c.names, len(c.digests))
	}
}

// Behaviour 79.
func TestBoundsDropWhatWasUsedLongestAgo(t *testing.T) {
	c, _ := newCache(t, func(o *Options) { o.Digests, o.Repositories, o.Names = 3, 2, 5 })
	for i := range 3 {
		c.AddBlob(c.Mark(), "team/app", blob(i), 1)
	}
	has(t, c, "team/app", blob(0), true) // used, so the next one to go is 1
	c.AddBlob(c.Mark(), "team/app", blob(3), 1)
	has(t, c, "team/app", blob(1), false)
	has(t, c, "team/app", blob(0), true)

	c.AddBlob(c.Mark(), "team/b", blob(0), 1)
	has(t, c, "team/app", blob(0), true)
	c.AddBlob(c.Mark(), "team/c", blob(0), 1)
	has(t, c, "team/b", blob(0), false)
	if got := c.Repositories(blob(0), 5); !slices.Equal(got, []string{"team/c", "team/app"}) {
		t.Errorf("repositories %v", got)
	}
	c.AddBlob(c.Mark(), "team/b", blob(3), 1)
	c.AddBlob(c.Mark(), "team/b", blob(2), 1)
	if c.names > 5 {
		t.Errorf("%d names, want at most 5", c.names)
	}
}

// Behaviour 79.
func TestRemovalOfARepositoryLeavesTheOthers(t *testing.T) {
	c, _ := newCache(t)
	for _, repository := range []string{"team/app", "team/other"} {
		c.AddBlob(c.Mark(), repository, blob(1), 1)
		c.AddBlob(c.Mark(), repository, blob(2), 1)
	}
	c.ForgetRepository("team/app")
	has(t, c, "team/app", blob(1), false)
	has(t, c, "team/app", blob(2), false)
	has(t, c, "team/other", blob(1), true)
	if got := c.Repositories(blob(2), 5); !slices.Equal(got, []string{"team/other"}) {
		t.Errorf("repositories %v", got)
	}
	c.AddBlob(c.Mark(), "team/app", blob(1), 1)
	has(t, c, "team/app", blob(1), true)
	c.Forget(blob(1))
	has(t, c, "team/app", blob(1), false)
	has(t, c, "team/other", blob(1), false)
	has(t, c, "team/other", blob(2), true)
}

// Behaviours 79 and 92a: CVE-2026-35172 comes back when a request that looked before a
// removal may add what it saw.
func TestWhoLookedBeforeARemovalAddsNothing(t *testing.T) {
	c, clock := newCache(t)
	before := c.Mark()
	c.ForgetRepository("team/app")
	c.AddBlob(before, "team/app", blob(1), 1)
	has(t, c, "team/app", blob(1), false)
	c.AddBlob(before, "team/other", blob(1), 1)
	has(t, c, "team/other", blob(1), true)

	before = c.Mark()
	c.Forget(blob(2))
	c.AddBlob(before, "team/other", blob(2), 1)
	has(t, c, "team/other", blob(2), false)

	before = c.Mark()
	c.ForgetRepository("late/app")
	for i := range maxRemovals { // so many that they cannot all be remembered
		c.ForgetRepository(fmt.Sprint("many/r", i))
	}
	c.AddBlob(before, "late/app", blob(3), 1)
	has(t, c, "late/app", blob(3), false)
	has(t, c, "team/other", blob(1), false)

	before = c.Mark()
	c.ForgetRepository("old/app")
	clock.Step(time.Hour)
	for i := range maxRemovals {
		c.ForgetRepository(fmt.Sprint("more/r", i))
	}
	c.AddBlob(before, "old/app", blob(4), 1)
	has(t, c, "old/app", blob(4), false)
	if len(c.removed.last) > maxRemovals {
		t.Errorf("%d removals are remembered", len(c.removed.last))
	}
}

// Behaviour 79.
func TestACacheThatIsOffKnowsNothing(t *testing.T) {
	c, _ := newCache(t, func(o *Options) { o.TTL = 0 })
	if c != nil {
		t.Fatal("a TTL of zero makes a cache")
	}
	c.AddBlob(c.Mark(), "team/app", blob(1), 1)
	c.Forget(blob(1))
	c.ForgetRepository("team/app")
	has(t, c, "team/app", blob(1), false)
	if len(c.Repositories(blob(1), 5)) > 0 {
		t.Error("names in a cache that is off")
	}
}

// Behaviour 96.
func TestLookUpsAreCounted(t *testing.T) {
	seen := &counts{}
	c, _ := newCache(t, func(o *Options) { o.Observer = seen })
	c.AddBlob(c.Mark(), "team/app", blob(1), 1)
	c.Blob("team/app", blob(1))
	c.Blob("team/other", blob(1))
	c.Blob("team/app", blob(2))
	if want := (counts{hits: 2, misses: 1, scopedHits: 1, scopedMisses: 2}); *seen != want {
		t.Errorf("counted %+v, want %+v", *seen, want)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"clock": func(o *Options) { o.Now = nil }, "ttl": func(o *Options) { o.TTL = -1 }, "digests": func(o *Options) { o.Digests = 0 },
	} {
		options := DefaultOptions()
		options.Now = time.Now
		change(&options)
		if _, err := New(options); err == nil {
			t.Errorf("bad %s was accepted", name)
		}
	}
}

package apply

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

const (
	// contestWindow and contestLimit: more corrections than this in that time are no repair any more, but
	// two programs that write against each other.
	contestWindow = 5 * time.Minute
	contestLimit  = 10
	// contestPause is the shortest time between two corrections of a contested object.
	contestPause = time.Minute
)

// contests remembers how often each object had to be put back. It starts anew with the process: the price is
// ten corrections more.
type contests struct {
	mu      sync.Mutex
	objects map[Ref]*contest
}

// contest is the recent past of one object.
type contest struct {
	// wish is the hash of what was applied last. To apply another wish is no correction.
	wish string
	// corrections are the times of those within the window, the oldest first.
	corrections []time.Time
	// seen is when the object was last found changed, whether it was put back or not.
	seen time.Time
	// contested lasts until the object was left in peace for a whole window.
	contested bool
}

// verdict says what may be done about a difference.
type verdict struct {
	// wait is how long the object has to be left as it is; zero means that it may be applied now.
	wait time.Duration
	// begins: the object has just become contested.
	begins bool
}

// judge decides about an object that is not as wanted.
func (c *contest) judge(now time.Time, wish string) verdict {
	if c.wish != wish {
		return verdict{}
	}
	if now.Sub(c.seen) >= contestWindow {
		c.contested = false
	}
	c.seen = now
	for len(c.corrections) > 0 && now.Sub(c.corrections[0]) >= contestWindow {
		c.corrections = c.corrections[1:]
	}
	var out verdict
	if !c.contested && len(c.corrections) >= contestLimit {
		c.contested, out.begins = true, true
	}
	if c.contested && len(c.corrections) > 0 {
		out.wait = max(0, contestPause-now.Sub(c.corrections[len(c.corrections)-1]))
	}
	return out
}

// applied notes that the object was changed to the wish. A request that failed is no correction.
func (c *contest) applied(now time.Time, wish string) {
	if c.wish != wish {
		*c = contest{wish: wish, seen: now}
		return
	}
	c.corrections = append(c.corrections, now)
}

// with runs f on one object of many.
func (c *contests) with(ref Ref, f func(*contest)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	object, ok := c.objects[ref]
	if !ok {
		object = &contest{}
		c.objects[ref] = object
	}
	f(object)
}

// forget ends the past of an object that is gone.
func (c *contests) forget(ref Ref) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.objects, ref)
}

func wishOf(desired *unstructured.Unstructured) (string, error) {
	text, err := json.Marshal(desired.Object)
	if err != nil {
		return "", fmt.Errorf("encode %s: %w", Describe(desired), err)
	}
	sum := sha256.Sum256(text)
	return string(sum[:]), nil
}

// allowed says whether an existing object may be put back now. Otherwise it sees to it that the object is
// looked at again: nobody may change it a second time.
func (a *Applier) allowed(desired, live *unstructured.Unstructured) (bool, error) {
	wish, err := wishOf(desired)
	if err != nil {
		return false, err
	}
	ref := RefOf(desired)
	var decided verdict
	a.contests.with(ref, func(c *contest) { decided = c.judge(a.Clock.Now(), wish) })
	if decided.begins && a.Event != nil {
		a.Event("Warning", "DriftConflict", fmt.Sprintf(
			"%s was put back %d times in %s, last against %s; it is now put back once a minute at most. Find out who writes it, or set spec.managementState to Unmanaged",
			ref, contestLimit, contestWindow, ForeignManager(live, a.FieldManager)))
	}
	if decided.wait > 0 && a.Again != nil {
		a.Again(decided.wait)
	}
	return decided.wait == 0, nil
}

// noteApplied is called after a request that changed the object. One that was created has no past: whoever
// deletes it is not writing against us.
func (a *Applier) noteApplied(desired *unstructured.Unstructured, created bool) {
	wish, err := wishOf(desired)
	if err != nil {
		return // what was sent could be encoded
	}
	if created {
		a.contests.forget(RefOf(desired))
	}
	a.contests.with(RefOf(desired), func(c *contest) { c.applied(a.Clock.Now(), wish) })
}

// ForeignManager names who but own changed the object last.
func ForeignManager(live *unstructured.Unstructured, own string) string {
	name, newest := "somebody", int64(0)
	for _, entry := range live.GetManagedFields() {
		if entry.Manager == own || entry.Subresource != "" || entry.Time == nil {
			continue
		}
		if at := entry.Time.Unix(); at >= newest {
			name, newest = entry.Manager, at
		}
	}
	return name
}

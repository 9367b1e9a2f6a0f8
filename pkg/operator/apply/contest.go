package apply

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"image.alauda.io/registry/pkg/operator/fault"
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

// applied notes that the object was changed to the wish, and says whether that was a correction. A request that
// failed is none.
func (c *contest) applied(now time.Time, wish string) bool {
	if c.wish != wish {
		*c = contest{wish: wish, seen: now}
		return false
	}
	c.corrections = append(c.corrections, now)
	return true
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

// allowed says whether an object may be put back now, or created again after somebody deleted it. Otherwise it
// sees to it that the object is looked at again: nobody may change it a second time. What does not exist is a
// fault, because others may need it; what differs is left to the one who writes it.
func (a *Applier) allowed(desired, live *unstructured.Unstructured) (bool, error) {
	wish, err := wishOf(desired)
	if err != nil {
		return false, err
	}
	ref := RefOf(desired)
	var decided verdict
	a.contests.with(ref, func(c *contest) { decided = c.judge(a.Clock.Now(), wish) })
	if decided.begins && a.Event != nil {
		a.Event("Warning", "DriftConflict", a.conflict(ref, live))
	}
	if decided.wait == 0 {
		return true, nil
	}
	if a.Again != nil {
		a.Again(decided.wait)
	}
	if live == nil {
		return false, fault.WaitingFor("%s, which somebody deletes again and again, to be created: once a minute at most", ref)
	}
	return false, nil
}

func (a *Applier) conflict(ref Ref, live *unstructured.Unstructured) string {
	if live == nil {
		return fmt.Sprintf("%s was put back %d times in %s and is deleted again; it is now created once a minute at most. Find out who deletes it, or set spec.managementState to Unmanaged",
			ref, contestLimit, contestWindow)
	}
	return fmt.Sprintf("%s was put back %d times in %s, last against %s; it is now put back once a minute at most. Find out who writes it, or set spec.managementState to Unmanaged",
		ref, contestLimit, contestWindow, ForeignManager(live, a.FieldManager))
}

// noteApplied is called after a request that changed the object. To apply the same as before is a correction: of
// a change by somebody else or, without a live object, of a deletion.
func (a *Applier) noteApplied(desired, live *unstructured.Unstructured) {
	wish, err := wishOf(desired)
	if err != nil {
		return // what was sent could be encoded
	}
	ref, corrected := RefOf(desired), false
	a.contests.with(ref, func(c *contest) { corrected = c.applied(a.Clock.Now(), wish) })
	if corrected {
		a.TellCorrected(ref, live)
	}
}

// Applied says whether this process has applied the object before. If so, it notices by itself what others do to
// it.
func (a *Applier) Applied(ref Ref) bool {
	known := false
	a.contests.with(ref, func(c *contest) { known = c.wish != "" })
	return known
}

// TellCorrected reports that an object was put back that was as in live before, or deleted if that is nil.
func (a *Applier) TellCorrected(ref Ref, live *unstructured.Unstructured) {
	if a.Corrected != nil {
		a.Corrected(ref)
	}
	if a.Event == nil {
		return
	}
	message := fmt.Sprintf("%s was deleted and is created again", ref)
	if live != nil {
		message = fmt.Sprintf("%s was changed by %s and is put back", ref, ForeignManager(live, a.FieldManager))
	}
	a.Event("Warning", "DriftCorrected", message)
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

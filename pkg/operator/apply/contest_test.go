package apply

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"

	"image.alauda.io/registry/pkg/operator/fault"
)

// contend lets somebody change an object at fixed intervals, against an operator that looks at once.
func contend(c *contest, now *time.Time, every, during time.Duration) (corrections, conflicts int, shortest time.Duration) {
	var last time.Time
	shortest = during
	for end := now.Add(during); now.Before(end); *now = now.Add(every) {
		decided := c.judge(*now, "wish")
		if decided.begins {
			conflicts++
		}
		if decided.wait > 0 {
			continue
		}
		if corrections++; !last.IsZero() {
			shortest = min(shortest, now.Sub(last))
		}
		last = *now
		c.applied(*now, "wish")
	}
	return corrections, conflicts, shortest
}

// Behaviour 26: two controllers that fight.
func TestAContestedObjectIsPutBackOnceAMinute(t *testing.T) {
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	c := &contest{}
	c.applied(now, "wish")
	corrections, conflicts, _ := contend(c, &now, time.Second, time.Minute)
	if corrections != contestLimit || conflicts != 1 {
		t.Errorf("first minute: %d corrections and %d conflicts, want %d and 1", corrections, conflicts, contestLimit)
	}
	corrections, conflicts, shortest := contend(c, &now, time.Second, 10*time.Minute)
	if corrections < 9 || corrections > 11 || conflicts != 0 || shortest < contestPause {
		t.Errorf("ten more minutes: %d corrections, %d conflicts, %s between two", corrections, conflicts, shortest)
	}
	now = now.Add(contestWindow)
	if corrections, _, _ = contend(c, &now, time.Second, 5*time.Second); corrections != 5 {
		t.Errorf("after five quiet minutes: %d of 5 changes were put back at once", corrections)
	}
}

func TestRareChangesAreAlwaysPutBackAtOnce(t *testing.T) {
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	c := &contest{}
	c.applied(now, "wish")
	now = now.Add(time.Second)
	corrections, conflicts, _ := contend(c, &now, 31*time.Second, time.Hour)
	if want := 117; corrections != want || conflicts != 0 {
		t.Errorf("%d corrections and %d conflicts, want %d and none", corrections, conflicts, want)
	}
}

func TestOwnNewWishesAreNoContest(t *testing.T) {
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	c := &contest{}
	for i := range 100 {
		wish := string(rune('a' + i%2))
		if decided := c.judge(now, wish); decided != (verdict{}) {
			t.Fatalf("edit %d of the spec: %+v", i, decided)
		}
		c.applied(now, wish)
		now = now.Add(time.Second)
	}
}

func TestTheWaitEndsWhenTheNextCorrectionIsDue(t *testing.T) {
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	c := &contest{}
	for range contestLimit + 1 {
		if decided := c.judge(now, "wish"); decided.wait != 0 {
			t.Fatalf("%+v before the limit", decided)
		}
		c.applied(now, "wish")
	}
	now = now.Add(20 * time.Second)
	decided := c.judge(now, "wish")
	if decided.wait != 40*time.Second || !decided.begins {
		t.Errorf("%+v, want to wait 40 s and to tell", decided)
	}
	now = now.Add(decided.wait)
	if decided := c.judge(now, "wish"); decided != (verdict{}) {
		t.Errorf("a minute after the last correction: %+v", decided)
	}
}

func TestRequestsThatFailAreNoCorrections(t *testing.T) {
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	c := &contest{}
	c.applied(now, "wish")
	for range 100 {
		if decided := c.judge(now, "wish"); decided != (verdict{}) {
			t.Fatalf("%+v", decided)
		}
		now = now.Add(time.Second)
	}
}

// Behaviour 26: a program that deletes what the operator makes is damped like one that edits it.
func TestAnObjectThatIsDeletedAgainAndAgainIsCreatedOnceAMinute(t *testing.T) {
	b := newBench(t)
	var reasons []string
	var again time.Duration
	b.Event = func(_, reason, _ string) { reasons = append(reasons, reason) }
	b.Again = func(after time.Duration) { again = after }
	desired := object("v1", "ConfigMap", "settings", "", "")
	made := 0
	b.client.PrependReactor("patch", "*", func(clienttesting.Action) (bool, runtime.Object, error) {
		made++
		return true, object("v1", "ConfigMap", "settings", fmt.Sprint("u", made), fmt.Sprint(made)), nil
	})
	for range contestLimit + 1 { // the first is no correction
		if _, sent, err := b.Apply(t.Context(), desired); err != nil || !sent {
			t.Fatalf("sent %t, %v", sent, err)
		}
		b.forget(RefOf(desired)) // it is deleted at once, and everybody knows
		b.clock.Step(time.Second)
	}
	_, sent, err := b.Apply(t.Context(), desired)
	if waiting := fault.Sort(err).Waiting; sent || len(waiting) != 1 {
		t.Fatalf("after %d deletions: sent %t, %v", contestLimit+1, sent, err)
	}
	if !slices.Contains(reasons, "DriftConflict") || !slices.Contains(reasons, "DriftCorrected") || again <= 0 || again > contestPause {
		t.Errorf("events %v, again after %s", reasons, again)
	}
	b.clock.Step(again)
	if _, sent, err := b.Apply(t.Context(), desired); err != nil || !sent {
		t.Errorf("a minute later: sent %t, %v", sent, err)
	}
}

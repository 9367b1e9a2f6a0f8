package scheduled

import (
	"container/heap"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
)

// jitter is the part of the interval by which turns move at random, so that streams that came together do not
// stay together.
const jitter = 0.1

// entry is one stream in the schedule.
type entry struct {
	key  cache.ObjectName
	uid  types.UID
	last time.Time
	next time.Time
	// running says that the stream is being imported now.
	running bool
	index   int
}

// schedule knows when each stream has its next turn. It knows no clock: all times come in. It is not safe for
// concurrent use.
type schedule struct {
	entries  map[cache.ObjectName]*entry
	order    byNext
	interval time.Duration
	// random returns numbers from 0 to less than 1.
	random func() float64
}

func newSchedule(interval time.Duration, random func() float64) *schedule {
	return &schedule{entries: map[cache.ObjectName]*entry{}, interval: interval, random: random}
}

// put adds a stream that was last imported at a time, which may be long ago or never. A stream that is in the
// schedule stays where it is, unless another one took its name.
func (s *schedule) put(key cache.ObjectName, uid types.UID, last, now time.Time) {
	if known, found := s.entries[key]; found {
		if known.uid == uid {
			return
		}
		s.remove(key)
	}
	added := &entry{key: key, uid: uid, last: last}
	added.next = s.turnAfter(last, now)
	s.entries[key] = added
	heap.Push(&s.order, added)
}

// remove takes a stream out of the schedule.
func (s *schedule) remove(key cache.ObjectName) {
	known, found := s.entries[key]
	if !found {
		return
	}
	delete(s.entries, key)
	heap.Remove(&s.order, known.index)
}

// first is the stream whose turn is next, nil when there is none.
func (s *schedule) first() *entry {
	if len(s.order) == 0 {
		return nil
	}
	return s.order[0]
}

// postpone begins a new interval for a stream: it is imported now.
func (s *schedule) postpone(key cache.ObjectName, now time.Time) {
	known, found := s.entries[key]
	if !found {
		return
	}
	known.last = now
	known.next = now.Add(s.jittered())
	heap.Fix(&s.order, known.index)
}

// hasten gives a stream the next turn.
func (s *schedule) hasten(key cache.ObjectName, now time.Time) {
	if known, found := s.entries[key]; found && known.next.After(now) {
		known.next = now
		heap.Fix(&s.order, known.index)
	}
}

// setInterval gives all streams turns by another interval.
func (s *schedule) setInterval(interval time.Duration, now time.Time) {
	if interval == s.interval {
		return
	}
	s.interval = interval
	for _, known := range s.entries {
		known.next = s.turnAfter(known.last, now)
	}
	heap.Init(&s.order)
}

// turnAfter is an interval after the last turn. What is overdue gets a turn somewhere in the interval to
// come: after a pause everything is overdue, and nothing of it in a hurry.
func (s *schedule) turnAfter(last, now time.Time) time.Time {
	// A time in the future is another clock's, or a user's, and would keep the stream waiting.
	if next := last.Add(s.jittered()); !last.IsZero() && next.After(now) && !last.After(now) {
		return next
	}
	return now.Add(time.Duration(s.random() * float64(s.interval)))
}

func (s *schedule) jittered() time.Duration {
	return time.Duration(float64(s.interval) * (1 + jitter*(2*s.random()-1)))
}

// byNext implements heap.Interface.
type byNext []*entry

// Len implements heap.Interface.
func (h byNext) Len() int { return len(h) }

// Less implements heap.Interface.
func (h byNext) Less(i, j int) bool { return h[i].next.Before(h[j].next) }

// Swap implements heap.Interface.
func (h byNext) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push implements heap.Interface.
func (h *byNext) Push(x any) {
	added := x.(*entry)
	added.index = len(*h)
	*h = append(*h, added)
}

// Pop implements heap.Interface.
func (h *byNext) Pop() any {
	last := len(*h) - 1
	popped := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return popped
}

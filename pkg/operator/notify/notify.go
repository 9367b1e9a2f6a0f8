// Package notify records events on Config/cluster.
//
// In: type, reason and message from any controller. Out: Events of reporting controller
// cluster-image-registry-operator, the same one at most once an hour, so that a fault that lasts does not fill
// the list of events and does not cost a write at every sync. Of one reason ten are sent in an hour: what
// happens in a thousand namespaces at once must not use up the few events that an object may have, or the loss
// of storage would go untold.
//
// It keeps no more than the last hour in memory and never blocks a controller: the recorder behind it works
// in the background.
package notify

import (
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"

	registryv1 "image.alauda.io/api/imageregistry/v1"
)

const (
	quiet = time.Hour
	// mostPerReason is well below the burst that the recorder allows for one object.
	mostPerReason = 10
)

// Recorder sends events. It is safe for concurrent use.
type Recorder struct {
	recorder record.EventRecorder
	clock    clock.PassiveClock
	mu       sync.Mutex
	last     map[[3]string]time.Time
}

// New wraps a recorder.
func New(recorder record.EventRecorder, clock clock.PassiveClock) *Recorder {
	return &Recorder{recorder: recorder, clock: clock, last: map[[3]string]time.Time{}}
}

// Event records an event on Config/cluster unless the same one was recorded in the last hour.
func (r *Recorder) Event(eventType, reason, message string) {
	if !r.due([3]string{eventType, reason, message}) {
		return
	}
	r.recorder.Event(&corev1.ObjectReference{
		APIVersion: registryv1.SchemeGroupVersion.String(),
		Kind:       "Config",
		Name:       registryv1.SingletonName,
	}, eventType, reason, message)
}

func (r *Recorder) due(key [3]string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.clock.Now()
	same := 0
	for other, at := range r.last {
		switch {
		case now.Sub(at) >= quiet:
			delete(r.last, other)
		case other[1] == key[1]:
			same++
		}
	}
	if _, recent := r.last[key]; recent || same >= mostPerReason {
		return false
	}
	r.last[key] = now
	return true
}

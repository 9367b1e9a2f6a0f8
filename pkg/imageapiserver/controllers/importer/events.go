package importer

import (
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/record"

	imagev1 "image.alauda.io/api/image/v1"
)

// EventImportFailed is the reason of the event for a failed import.
const EventImportFailed = "ImportFailed"

// FailureEvents tells users about failed imports, each message once for as long as it stays the same. It is
// safe for concurrent use.
type FailureEvents struct {
	recorder record.EventRecorder

	mu sync.Mutex
	// said are the last messages by stream and item.
	said map[string]map[string]string
}

// NewFailureEvents writes events with recorder.
func NewFailureEvents(recorder record.EventRecorder) *FailureEvents {
	return &FailureEvents{recorder: recorder, said: map[string]map[string]string{}}
}

// Report writes an event for each failure whose message is new, and forgets those of items that work again.
func (e *FailureEvents) Report(outcome Outcome) {
	stream := outcome.Stream
	fresh := e.fresh(stream.Namespace+"/"+stream.Name, outcome.Work, outcome.Failures)
	if len(fresh) == 0 {
		return
	}
	about := &corev1.ObjectReference{
		APIVersion: imagev1.SchemeGroupVersion.String(), Kind: "ImageStream",
		Namespace: stream.Namespace, Name: stream.Name, UID: stream.UID, ResourceVersion: stream.ResourceVersion,
	}
	for _, failure := range fresh {
		if failure.Tag == repositoryItem {
			e.recorder.Eventf(about, corev1.EventTypeWarning, EventImportFailed,
				"Repository %s could not be imported: %s", stream.Spec.DockerImageRepository, failure.Message)
			continue
		}
		e.recorder.Eventf(about, corev1.EventTypeWarning, EventImportFailed, "Tag %s could not be imported: %s", failure.Tag, failure.Message)
	}
}

func (e *FailureEvents) fresh(key string, work Work, failures []Failure) []Failure {
	e.mu.Lock()
	defer e.mu.Unlock()
	said := map[string]string{}
	for item, message := range e.said[key] {
		// What was imported now is judged by this result alone.
		again := item == repositoryItem && work.Repository || slices.Contains(work.Tags, item)
		failedAgain := slices.ContainsFunc(failures, func(failure Failure) bool { return failure.Tag == item })
		if !again || failedAgain {
			said[item] = message
		}
	}
	var fresh []Failure
	for _, failure := range failures {
		if failure.Dropped || failure.Message == "" || said[failure.Tag] == failure.Message {
			continue
		}
		said[failure.Tag] = failure.Message
		fresh = append(fresh, failure)
	}
	if len(said) == 0 {
		delete(e.said, key)
	} else {
		e.said[key] = said
	}
	return fresh
}

// Forget drops what was said about a stream.
func (e *FailureEvents) Forget(namespace, name string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.said, namespace+"/"+name)
}

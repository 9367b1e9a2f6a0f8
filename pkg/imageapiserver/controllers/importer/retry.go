package importer

import (
	"fmt"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
)

const (
	// firstPause and longestPause bound the time between two attempts at something that fails for a reason
	// that passes; each pause is twice the one before.
	firstPause   = time.Minute
	longestPause = 30 * time.Minute
)

// repositoryItem stands for spec.dockerImageRepository among the tags; no tag has an empty name.
const repositoryItem = ""

// Failure is one item that could not be imported.
type Failure struct {
	// Tag is the name of the tag, empty for the repository as a whole.
	Tag string
	// Reason and Message are those of the item's status.
	Reason  metav1.StatusReason
	Message string
	// Transient says that the same import may work later without any change: the registry was busy, did not
	// answer in time or could not be reached.
	Transient bool
	// Dropped says that the stream changed meanwhile and the result was not recorded.
	Dropped bool
	// RetryAfter is how long the registry wants to be left alone; zero when it said nothing.
	RetryAfter time.Duration
}

// pause is the time to wait after a number of attempts, at least one.
func pause(attempts int) time.Duration {
	delay := firstPause
	for i := 1; i < attempts && delay < longestPause; i++ {
		delay *= 2
	}
	return min(delay, longestPause)
}

// pauseAfter is the time to wait after a failure. A registry that names the time is asked again then, and
// later only if it keeps refusing.
func pauseAfter(failure Failure, attempts int) time.Duration {
	if failure.RetryAfter <= 0 {
		return pause(attempts)
	}
	if attempts <= 1 {
		return failure.RetryAfter
	}
	return max(failure.RetryAfter, pause(attempts-1))
}

// mayPass tells from a recorded condition alone whether it is worth another attempt. A condition does not
// tell a failing network from another internal error, so both get one; what that attempt says decides.
func mayPass(reason string) bool {
	switch metav1.StatusReason(reason) {
	case metav1.StatusReasonTimeout, metav1.StatusReasonTooManyRequests, metav1.StatusReasonServerTimeout,
		metav1.StatusReasonServiceUnavailable, metav1.StatusReasonInternalError:
		return true
	}
	return false
}

// attempt is what is known about an item that failed.
type attempt struct {
	// state is what was imported; an item that has changed since starts anew.
	state string
	count int
	// settled says that the failure does not pass by itself.
	settled bool
	due     time.Time
}

// retries remembers failures by stream and item. It is safe for concurrent use.
type retries struct {
	mu      sync.Mutex
	streams map[string]map[string]attempt
}

func newRetries() *retries { return &retries{streams: map[string]map[string]attempt{}} }

// forget drops what is known about a stream.
func (r *retries) forget(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.streams, key)
}

// observe brings the memory in line with a stream: failures that were recorded by others (a scheduled run, a
// request, an earlier leader) come in, those whose condition is gone are dropped. It returns when the first
// item is due, false when none is.
func (r *retries) observe(key string, stream *imageapi.ImageStream, now time.Time) (due time.Time, any bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := r.streams[key]
	for item, last := range known {
		if !stands(stream, item, last) {
			delete(known, item)
		}
	}
	for tag := range stream.Status.Tags {
		condition := failed(stream, tag)
		state := stateOf(stream, tag)
		if condition == nil || state == "" || !mayPass(condition.Reason) {
			continue
		}
		if _, found := known[tag]; !found {
			if known == nil {
				known = map[string]attempt{}
			}
			known[tag] = attempt{state: state, due: now.Add(firstPause)}
		}
	}
	if len(known) == 0 {
		delete(r.streams, key)
		return time.Time{}, false
	}
	r.streams[key] = known
	for _, last := range known {
		if !last.settled && (!any || last.due.Before(due)) {
			due, any = last.due, true
		}
	}
	return due, any
}

// unknown tells whether a stream carries a failure that may pass and of which nothing is known yet.
func (r *retries) unknown(key string, stream *imageapi.ImageStream) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for tag := range stream.Status.Tags {
		condition := failed(stream, tag)
		if condition == nil || !mayPass(condition.Reason) || stateOf(stream, tag) == "" {
			continue
		}
		if _, found := r.streams[key][tag]; !found {
			return true
		}
	}
	return false
}

// stands tells whether what is known about an item still holds for the stream.
func stands(stream *imageapi.ImageStream, item string, last attempt) bool {
	if stateOf(stream, item) != last.state {
		return false
	}
	if item == repositoryItem {
		return true
	}
	return failed(stream, item) != nil || *stream.Spec.Tags[item].Generation > ObservedGeneration(stream, item)
}

// stateOf names what an import of an item would import; empty when there is nothing to import.
func stateOf(stream *imageapi.ImageStream, item string) string {
	if item == repositoryItem {
		return stream.Spec.DockerImageRepository
	}
	tag, found := stream.Spec.Tags[item]
	if !found || !Importable(tag) || tag.Generation == nil {
		return ""
	}
	return fmt.Sprintf("%d %s", *tag.Generation, tag.From.Name)
}

// choose turns what a stream needs into what is to be imported now: items that wait or do not pass by
// themselves are left out, those whose pause is over come in.
func (r *retries) choose(key string, stream *imageapi.ImageStream, needed Work, now time.Time) Work {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := r.streams[key]
	wanted := map[string]bool{}
	for _, tag := range needed.Tags {
		wanted[tag] = true
	}
	for item, last := range known {
		if !stands(stream, item, last) {
			continue
		}
		if item == repositoryItem {
			// Without its annotation the stream asks anew, whatever was before.
			needed.Repository = needed.Repository || !last.settled && !last.due.After(now)
			continue
		}
		wanted[item] = !last.settled && !last.due.After(now)
	}
	return Work{Repository: needed.Repository, Tags: tagsWhere(stream, func(tag imageapi.TagReference) bool { return wanted[tag.Name] })}
}

// counts returns how often each item was tried in vain so far. It is taken before an import, because what
// the import records may come back through observe before its result does.
func (r *retries) counts(key string, stream *imageapi.ImageStream) map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	counts := map[string]int{}
	for item, last := range r.streams[key] {
		if stands(stream, item, last) {
			counts[item] = last.count
		}
	}
	return counts
}

// record notes the result of an import. stream is what was stored with it, before are the counts of the
// attempts until then.
func (r *retries) record(key string, stream *imageapi.ImageStream, work Work, failures []Failure, before map[string]int, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := map[string]attempt{}
	for item, last := range r.streams[key] {
		known[item] = last
	}
	for _, tag := range work.Tags {
		delete(known, tag)
	}
	if work.Repository {
		delete(known, repositoryItem)
	}
	for _, failure := range failures {
		state := stateOf(stream, failure.Tag)
		if failure.Dropped || state == "" {
			continue
		}
		count := before[failure.Tag] + 1
		known[failure.Tag] = attempt{
			state: state, count: count, settled: !failure.Transient, due: now.Add(pauseAfter(failure, count)),
		}
	}
	if len(known) == 0 {
		delete(r.streams, key)
		return
	}
	r.streams[key] = known
}

package execute

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	imagev1 "image.alauda.io/api/image/v1"
	imageclient "image.alauda.io/client-go/clientset/versioned"
	"image.alauda.io/registry/pkg/pruner/plan"
	"image.alauda.io/registry/pkg/pruner/report"
	"image.alauda.io/registry/pkg/pruner/snapshot"
)

const (
	conflictAttempts = 10
	firstBackoff     = 10 * time.Millisecond
	maxBackoff       = time.Second
	// requestTimeout lets a request in flight end after an interruption.
	requestTimeout = 20 * time.Second
)

// Executor changes the cluster, or with DryRun only says what it would change.
type Executor struct {
	Client  imageclient.Interface
	Planner *plan.Planner
	Workers int
	DryRun  bool
	// Current, if given, is asked before each change and fails when it is not known who uses images at the
	// moment.
	Current func(context.Context) error
	// Wait pauses between attempts; tests replace it.
	Wait func(context.Context, time.Duration)
	// Progress, if given, is told of every object that is done, by several goroutines at a time. The stages
	// are "image streams" and "images".
	Progress func(stage string, done, total int)
}

// StreamResult is the outcome for one stream.
type StreamResult struct {
	Stream  snapshot.Stream
	Updated bool
	// Decisions are the last ones that were made.
	Decisions []plan.Revision
	// Removed are those that took effect, or would.
	Removed []plan.Revision
	// Listed are the digests that the stored stream names afterwards.
	Listed []string
	Err    error
}

// Streams prunes the history of all streams and returns the results in the order of the snapshot. A
// stream that was not reached because ctx ended keeps what it lists.
func (e *Executor) Streams(ctx context.Context) []StreamResult {
	streams := e.Planner.Snapshot.Streams
	results := make([]StreamResult, len(streams))
	done := e.counter("image streams", len(streams))
	e.each(ctx, len(streams), func(i int) {
		results[i] = e.stream(ctx, streams[i])
		done()
	}, func(i int) {
		results[i] = StreamResult{Stream: streams[i], Listed: listedBy(streams[i])}
	})
	return results
}

// current waits until references are up to date.
func (e *Executor) current(ctx context.Context) error {
	if e.Current == nil {
		return nil
	}
	return e.Current(ctx)
}

// counter returns a function that counts one more object of a stage.
func (e *Executor) counter(stage string, total int) func() {
	var count atomic.Int64
	return func() {
		if done := count.Add(1); e.Progress != nil {
			e.Progress(stage, int(done), total)
		}
	}
}

// each runs work for every index on the workers. After the end of ctx the remaining ones are only told to
// missed.
func (e *Executor) each(ctx context.Context, count int, work, missed func(int)) {
	var group sync.WaitGroup
	indexes := make(chan int)
	for range max(e.Workers, 1) {
		group.Go(func() {
			for i := range indexes {
				if ctx.Err() != nil {
					missed(i)
					continue
				}
				work(i)
			}
		})
	}
	for i := range count {
		indexes <- i
	}
	close(indexes)
	group.Wait()
}

func (e *Executor) stream(ctx context.Context, stream snapshot.Stream) StreamResult {
	result := StreamResult{Stream: stream, Decisions: e.Planner.Stream(stream), Listed: listedBy(stream)}
	removable := removed(result.Decisions)
	if len(removable) == 0 {
		return result
	}
	if e.DryRun {
		result.Updated, result.Removed, result.Listed = true, removable, kept(result.Decisions)
		return result
	}
	backoff := firstBackoff
	for attempt := 1; ; attempt++ {
		err := e.update(ctx, &result)
		if err == nil {
			return result
		}
		if !apierrors.IsConflict(err) || attempt == conflictAttempts || ctx.Err() != nil {
			result.Err = fmt.Errorf("image stream %s: %w", stream.Key(), err)
			return result
		}
		e.Wait(ctx, backoff)
		backoff = min(2*backoff, maxBackoff)
	}
}

// update decides on the stream as it is now and writes it. After a failure the result lists what the
// snapshot and the fresh object name.
func (e *Executor) update(ctx context.Context, result *StreamResult) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
	defer cancel()
	// What takes time comes before the stream is read: who pushes into it all the time would be ahead of every
	// write. After the reading this is mostly a look.
	if err := e.current(ctx); err != nil {
		return err
	}
	streams := e.Client.ImageV1().ImageStreams(result.Stream.Namespace)
	fresh, err := streams.Get(ctx, result.Stream.Name, metav1.GetOptions{})
	if IsGone(err) {
		result.Listed = nil
		return nil
	}
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	if err := e.current(ctx); err != nil {
		return err
	}
	projected := snapshot.StreamOf(fresh)
	result.Decisions = e.Planner.Stream(projected)
	removable := removed(result.Decisions)
	result.Listed = append(listedBy(result.Stream), listedBy(projected)...)
	if len(removable) == 0 {
		return nil
	}
	shorten(fresh, result.Decisions)
	stored, err := streams.UpdateStatus(ctx, fresh, metav1.UpdateOptions{})
	if IsGone(err) {
		result.Listed = nil
		return nil
	}
	if err != nil {
		return fmt.Errorf("update status: %w", err)
	}
	result.Updated, result.Removed, result.Listed = true, removable, listedBy(snapshot.StreamOf(stored))
	return nil
}

// IsGone tells that the Image API says that an object does not exist. A 404 of something before it, such
// as an API server that does not know the group for a moment, says nothing about the object; taken for an
// answer it would take the protection from the images of a stream.
func IsGone(err error) bool {
	return apierrors.IsNotFound(err) && !apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse)
}

// shorten removes the decided revisions. The decisions stand in the order of the tags and their items. A
// tag that lost its last item goes, unless it is wanted or tells of a failed import.
func shorten(stream *imagev1.ImageStream, decisions []plan.Revision) {
	declared := map[string]bool{}
	for _, tag := range stream.Spec.Tags {
		declared[tag.Name] = true
	}
	next := 0
	tags := stream.Status.Tags[:0:0]
	for _, tag := range stream.Status.Tags {
		items := make([]imagev1.TagEvent, 0, len(tag.Items))
		for _, item := range tag.Items {
			if decisions[next].Keep {
				items = append(items, item)
			}
			next++
		}
		emptied := len(items) == 0 && len(tag.Items) > 0
		tag.Items = items
		if emptied && len(tag.Conditions) == 0 && !declared[tag.Tag] {
			continue
		}
		tags = append(tags, tag)
	}
	stream.Status.Tags = tags
}

func removed(decisions []plan.Revision) []plan.Revision {
	return slices.DeleteFunc(slices.Clone(decisions), func(d plan.Revision) bool { return d.Keep })
}

func kept(decisions []plan.Revision) []string {
	var digests []string
	for _, decision := range decisions {
		if decision.Keep {
			digests = append(digests, decision.Digest)
		}
	}
	return digests
}

func listedBy(stream snapshot.Stream) []string {
	var digests []string
	for _, tag := range stream.Tags {
		for _, revision := range tag.Revisions {
			digests = append(digests, revision.Digest)
		}
	}
	return digests
}

// Items are the lines of a report about the stream.
func (r StreamResult) Items(dryRun, explainKept bool) []report.Item {
	action := report.Deleted
	if dryRun {
		action = report.WouldDelete
	}
	var items []report.Item
	item := func(action string, d plan.Revision) report.Item {
		index := d.Index
		return report.Item{Action: action, Kind: report.KindTagRevision, Namespace: r.Stream.Namespace, Name: r.Stream.Name,
			Tag: d.Tag, Revision: &index, Digest: d.Digest, Reason: d.Reason, Age: d.Age}
	}
	if r.Err != nil {
		items = append(items, report.Item{Action: report.Failed, Kind: report.KindImageStream,
			Namespace: r.Stream.Namespace, Name: r.Stream.Name, Error: r.Err.Error()})
	}
	for _, decision := range r.Removed {
		items = append(items, item(action, decision))
	}
	for _, decision := range r.Decisions {
		switch {
		case decision.Unsure:
			failed := item(report.Failed, decision)
			failed.Error = decision.Reason
			items = append(items, failed)
		case decision.Keep && explainKept:
			items = append(items, item(report.Kept, decision))
		}
	}
	return items
}

package snapshot

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"image.alauda.io/registry/pkg/pruner/objects"
)

// A server that continues a list where it was already would be read for ever.
func TestListThatLeadsBackToItself(t *testing.T) {
	for _, tokens := range [][]string{{"a"}, {"a", "b"}} {
		calls := 0
		_, _, err := pager{clock: newWaits(), chunkSize: 1}.whole(t.Context(), "pods", func(context.Context, metav1.ListOptions) (page, error) {
			if calls++; calls > 100 {
				return page{}, errors.New("read for ever")
			}
			return page{Page: objects.Page{Continue: tokens[calls%len(tokens)], Items: 1}}, nil
		}, func() {})
		if err == nil || !strings.Contains(err.Error(), "list pods") || calls > 10 {
			t.Errorf("after %d pages: %v", calls, err)
		}
	}
}

// The wait for a broken watch is one for all decisions, not one for each of thousands.
func TestBrokenWatchIsWaitedForOnce(t *testing.T) {
	w := &widgets{watches: make(chan watch.Interface, 1)}
	_, source, snap := watched(t, w, widgetKind())
	clock := source.Clock.(*waits)
	watches := source.Watch(t.Context(), snap)
	defer watches.Stop()
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		if late, _, _ := watches.late(); late != nil && strings.HasPrefix(late.what, "widgets") {
			break // the built-in kinds come before it and are followed
		}
		if time.Now().After(end) {
			t.Fatal("the built-in kinds are not followed")
		}
	}
	clock.Step(2 * catchUp)
	began := time.Now()
	if err := watches.Current(t.Context()); err == nil || !strings.Contains(err.Error(), "widgets") {
		t.Errorf("%v", err)
	}
	if waited := time.Since(began); waited > catchUp/2 {
		t.Errorf("waited for %s", waited)
	}
}

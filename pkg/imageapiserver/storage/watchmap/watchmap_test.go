package watchmap

import (
	"testing"
	"testing/synctest"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

func rename(event watch.Event) watch.Event {
	event.Object = &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: "changed"}}
	return event
}

func TestEventsAreChangedInOrder(t *testing.T) {
	source := watch.NewFakeWithChanSize(3, false)
	source.Add(&metav1.PartialObjectMetadata{})
	source.Modify(&metav1.PartialObjectMetadata{})
	source.Stop()
	var types []watch.EventType
	for event := range New(source, rename).ResultChan() {
		if got := event.Object.(*metav1.PartialObjectMetadata).Name; got != "changed" {
			t.Errorf("%s has the object %q, want the changed one", event.Type, got)
		}
		types = append(types, event.Type)
	}
	if len(types) != 2 || types[0] != watch.Added || types[1] != watch.Modified {
		t.Errorf("events are %v, want Added and Modified", types)
	}
}

// The bubble fails when a goroutine is left that nothing can wake.
func TestNothingStaysBehindWhenTheReaderStopsEarly(t *testing.T) {
	synctest.Test(t, func(*testing.T) {
		source := watch.NewFakeWithChanSize(3, false)
		source.Add(&metav1.PartialObjectMetadata{})
		source.Add(&metav1.PartialObjectMetadata{})
		mapped := New(source, rename)
		synctest.Wait()
		mapped.Stop()
		mapped.Stop()
	})
}

// Package watchmap changes the events of a watch on their way to its reader, such as objects that are
// shown to clients in another form than they are stored.
//
// In: a watch and a function from event to event. Out: a watch with the changed events, in the same order.
//
// It exists beside watch.Filter of the library because a reader may stop while events wait for him: there
// the goroutine that carries the events would wait for the reader forever. It never drops an event that
// somebody still wants, and it buffers none.
package watchmap

import (
	"sync"

	"k8s.io/apimachinery/pkg/watch"
)

// New returns a watch whose events are those of source after change. It owns source and stops it.
func New(source watch.Interface, change func(watch.Event) watch.Event) watch.Interface {
	m := &mapped{source: source, change: change, result: make(chan watch.Event), stopped: make(chan struct{})}
	go m.run()
	return m
}

type mapped struct {
	source watch.Interface
	change func(watch.Event) watch.Event
	result chan watch.Event

	once    sync.Once
	stopped chan struct{}
}

// ResultChan implements watch.Interface.
func (m *mapped) ResultChan() <-chan watch.Event { return m.result }

// Stop implements watch.Interface. Events that wait for the reader are forgotten.
func (m *mapped) Stop() {
	m.once.Do(func() { close(m.stopped) })
	m.source.Stop()
}

func (m *mapped) run() {
	defer close(m.result)
	for event := range m.source.ResultChan() {
		select {
		case m.result <- m.change(event):
		case <-m.stopped:
			return
		}
	}
}

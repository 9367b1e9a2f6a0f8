package pullthrough

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"image.alauda.io/registry/pkg/registry/store"
)

func smallWindow(size int64, patience time.Duration) *window {
	limits := DefaultLimits()
	limits.Window, limits.Patience = size, patience
	return newWindow(limits)
}

func readAll(f *follower, buffer int) ([]byte, error) {
	var got []byte
	p := make([]byte, buffer)
	for {
		n, err := f.read(context.Background(), p)
		got = append(got, p[:n]...)
		if err != nil {
			return got, err
		}
	}
}

// Everybody who keeps up reads everything, through a memory that is smaller than it.
func TestReadersReadAlong(t *testing.T) {
	w := smallWindow(7, time.Minute)
	content := bytes.Repeat([]byte("abcdefghijkl"), 50)
	follower := w.follow()
	var reading sync.WaitGroup
	reading.Go(func() {
		if got, err := readAll(follower, 5); !errors.Is(err, io.EOF) || !bytes.Equal(got, content) {
			t.Errorf("got %d bytes, %v", len(got), err)
		}
	})
	if err := w.publish(t.Context(), content); err != nil {
		t.Fatal(err)
	}
	w.finish()
	reading.Wait()
	if int64(len(w.ring)) != w.limit {
		t.Errorf("the memory is %d bytes, want %d", len(w.ring), w.limit)
	}
}

// Who does not read is left behind once the patience is over, and the download goes on.
func TestWhoStallsIsLeftBehind(t *testing.T) {
	w := smallWindow(4, time.Millisecond)
	stalled := w.follow()
	if err := w.publish(t.Context(), []byte("0123456789")); err != nil {
		t.Fatal(err)
	}
	w.finish()
	if got, err := readAll(stalled, 10); !errors.Is(err, errLeftBehind) || len(got) != 0 {
		t.Errorf("got %q, %v", got, err)
	}
	if late := w.follow(); late != nil {
		t.Error("somebody reads along whose beginning is gone")
	}
}

func TestWithoutReadersNothingIsHeld(t *testing.T) {
	w := smallWindow(4, time.Minute)
	if err := w.publish(t.Context(), []byte("0123456789")); err != nil || w.ring != nil {
		t.Errorf("%v, memory of %d bytes", err, len(w.ring))
	}
	if w.follow() != nil {
		t.Error("somebody reads along whose beginning is gone")
	}
	w.close(store.Info{Size: 10}, nil)
	if info, err := w.wait(t.Context()); err != nil || info.Size != 10 {
		t.Errorf("%v, %v", info, err)
	}
}

// A reader that leaves is waited for no more.
func TestALeavingReaderLetsTheDownloadGo(t *testing.T) {
	w := smallWindow(4, time.Hour)
	reader := w.follow()
	published := make(chan error, 1)
	go func() { published <- w.publish(t.Context(), []byte("0123456789")) }()
	if _, err := reader.read(t.Context(), make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	reader.close()
	if err := <-published; err != nil {
		t.Error(err)
	}
}

// An end without the verified content is no end for readers.
func TestAFailedDownloadIsNoEnd(t *testing.T) {
	w := smallWindow(100, time.Minute)
	reader := w.follow()
	if err := w.publish(t.Context(), []byte("0123456789")); err != nil {
		t.Fatal(err)
	}
	w.close(store.Info{}, errSource)
	if got, err := readAll(reader, 100); !errors.Is(err, errLeftBehind) || string(got) != "0123456789" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestTheGateIsFair(t *testing.T) {
	g := newGate(3, 2)
	first, ok := g.try("a")
	_, second := g.try("a")
	_, third := g.try("a")
	_, other := g.try("b")
	_, full := g.try("c")
	if !ok || !second || third || !other || full {
		t.Errorf("entered: %v %v %v %v %v", ok, second, third, other, full)
	}
	entered := make(chan error, 1)
	go func() {
		_, err := g.enter(t.Context(), "c")
		entered <- err
	}()
	first()
	first()
	if err := <-entered; err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := g.enter(ctx, "d"); !errors.Is(err, context.Canceled) {
		t.Errorf("a full gate: %v", err)
	}
}

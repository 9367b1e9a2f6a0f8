package controllers

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes/fake"

	"image.alauda.io/registry/pkg/leader"
)

func TestSelection(t *testing.T) {
	for _, test := range []struct {
		selection Selection
		runs      bool
	}{
		{Selection{"*"}, true},
		{Selection{ImageTrigger}, true},
		{Selection{"*", "-" + ImageTrigger}, false},
		{Selection{QuotaStatus}, false},
		{nil, false},
	} {
		if got := test.selection.Has(ImageTrigger); got != test.runs {
			t.Errorf("%v: runs %v, want %v", test.selection, got, test.runs)
		}
		if err := test.selection.Validate(); err != nil {
			t.Errorf("%v: %v", test.selection, err)
		}
	}
	if err := (Selection{"image-triggers"}).Validate(); err == nil {
		t.Error("an unknown name was accepted")
	}
}

// worker counts how many of its kind work at the same time.
type worker struct {
	working *atomic.Int32
	most    *atomic.Int32
	started chan string
	name    string
}

func (w *worker) Name() string { return ImageImport }

func (w *worker) Run(ctx context.Context) error {
	if n := w.working.Add(1); n > w.most.Load() {
		w.most.Store(n)
	}
	defer w.working.Add(-1)
	w.started <- w.name
	<-ctx.Done()
	return nil
}

// Behaviours 47 and 63: of two replicas one works, and the other takes over when it ends in order.
func TestOneWorksAndTheNextTakesOver(t *testing.T) {
	kube := fake.NewClientset()
	var working, most atomic.Int32
	started := make(chan string, 2)
	run := func(ctx context.Context, name string) <-chan error {
		ended := make(chan error, 1)
		go func() {
			ended <- Run(ctx, Options{
				Kube: kube, Namespace: "ns", Identity: name, LeaderElect: true,
				Times: leader.Times{Duration: time.Minute, Renew: 30 * time.Second, Retry: 10 * time.Millisecond},
			}, []Controller{&worker{&working, &most, started, name}})
		}()
		return ended
	}
	firstContext, stopFirst := context.WithCancel(t.Context())
	secondContext, stopSecond := context.WithCancel(t.Context())
	defer stopSecond()
	first := run(firstContext, "first")
	if name := <-started; name != "first" {
		t.Fatalf("%s leads", name)
	}
	second := run(secondContext, "second")
	stopFirst()
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	// The lease would hold for a minute if it had not been released.
	if name := <-started; name != "second" {
		t.Fatalf("%s leads", name)
	}
	stopSecond()
	if err := <-second; err != nil {
		t.Fatal(err)
	}
	if most.Load() != 1 {
		t.Errorf("%d worked at the same time", most.Load())
	}
}

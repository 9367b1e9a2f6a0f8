package notify

import (
	"strconv"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/record"
	clocktesting "k8s.io/utils/clock/testing"
)

func sent(recorder *record.FakeRecorder) int {
	count := 0
	for {
		select {
		case <-recorder.Events:
			count++
		default:
			return count
		}
	}
}

func TestTheSameEventIsSentOnceAnHour(t *testing.T) {
	fake := record.NewFakeRecorder(20)
	clock := clocktesting.NewFakeClock(time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC))
	recorder := New(fake, clock)
	steps := []struct {
		what            string
		after           time.Duration
		reason, message string
		want            int
	}{
		{"the first", 0, "DriftCorrected", "a", 1},
		{"at once again", 0, "DriftCorrected", "a", 0},
		{"another message", 0, "DriftCorrected", "b", 1},
		{"another reason", 0, "DriftConflict", "a", 1},
		{"just before the hour", time.Hour - time.Second, "DriftCorrected", "a", 0},
		{"after the hour", time.Second, "DriftCorrected", "a", 1},
		{"an hour runs from the last one that was sent", 30 * time.Minute, "DriftCorrected", "a", 0},
	}
	for _, step := range steps {
		clock.Step(step.after)
		recorder.Event(corev1.EventTypeWarning, step.reason, step.message)
		if got := sent(fake); got != step.want {
			t.Errorf("%s: %d events, want %d", step.what, got, step.want)
		}
	}
}

func TestOldEventsAreForgotten(t *testing.T) {
	clock := clocktesting.NewFakeClock(time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC))
	recorder := New(record.NewFakeRecorder(20), clock)
	for range 10 {
		recorder.Event(corev1.EventTypeNormal, "Reason", clock.Now().String())
		clock.Step(quiet)
	}
	if len(recorder.last) != 1 {
		t.Errorf("%d events are remembered, want 1", len(recorder.last))
	}
}

func TestControllersMayTellAtTheSameTime(t *testing.T) {
	fake := record.NewFakeRecorder(20)
	recorder := New(fake, clocktesting.NewFakeClock(time.Now()))
	var group sync.WaitGroup
	for range 10 {
		group.Go(func() { recorder.Event(corev1.EventTypeNormal, "Reason", "message") })
	}
	group.Wait()
	if got := sent(fake); got != 1 {
		t.Errorf("%d events, want 1", got)
	}
}

func TestOneReasonDoesNotSilenceTheOthers(t *testing.T) {
	fake := record.NewFakeRecorder(200)
	clock := clocktesting.NewFakeClock(time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC))
	recorder := New(fake, clock)
	for i := range 100 {
		recorder.Event(corev1.EventTypeWarning, "PullSecretNameConflict", strconv.Itoa(i))
	}
	if got := sent(fake); got != mostPerReason {
		t.Errorf("%d events of one reason, want %d", got, mostPerReason)
	}
	recorder.Event(corev1.EventTypeWarning, "StorageBackendChanged", "x")
	clock.Step(quiet)
	recorder.Event(corev1.EventTypeWarning, "PullSecretNameConflict", "later")
	if got := sent(fake); got != 2 {
		t.Errorf("%d events of another reason and of the next hour, want 2", got)
	}
}

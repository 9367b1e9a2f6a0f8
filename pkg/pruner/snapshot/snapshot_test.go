package snapshot

import (
	"net/http"
	"testing"
	"time"

	kubefake "k8s.io/client-go/kubernetes/fake"
	clocktesting "k8s.io/utils/clock/testing"

	imagefake "image.alauda.io/client-go/clientset/versioned/fake"
)

// What was answered before, such as to an earlier attempt, says nothing about when this one began.
func TestEachAttemptHasItsOwnStart(t *testing.T) {
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	dates := &Dates{}
	source := Source{Kube: kubefake.NewClientset(), Image: imagefake.NewClientset(), Dates: dates, Clock: clocktesting.NewFakeClock(now), ChunkSize: 10}
	for range 2 {
		dates.saw(now.Add(-10 * time.Minute).Format(http.TimeFormat))
		snap, err := source.Take(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !snap.Time.Equal(now) || snap.Skew != 0 {
			t.Errorf("the run began at %s with a skew of %s, want %s and none", snap.Time, snap.Skew, now)
		}
	}
}

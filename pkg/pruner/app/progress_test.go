package app

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"k8s.io/klog/v2"
	"k8s.io/klog/v2/ktesting"
	clocktesting "k8s.io/utils/clock/testing"
)

func TestProgressIsToldEveryTenSeconds(t *testing.T) {
	log := ktesting.NewLogger(t, ktesting.NewConfig(ktesting.BufferLogs(true)))
	ctx := klog.NewContext(t.Context(), log)
	clock := clocktesting.NewFakePassiveClock(now)
	p := newProgress(clock)
	for second := range 26 {
		clock.SetTime(now.Add(time.Duration(second) * time.Second))
		phase, total := "read images", 0
		if second >= 15 {
			phase, total = "prune images", 4000
		}
		p.reached(ctx, phase, 100*second, total)
	}
	var lines []string
	for _, entry := range log.GetSink().(ktesting.Underlier).GetBuffer().Data() {
		lines = append(lines, fmt.Sprint(entry.Message, entry.ParameterKVList))
	}
	want := []string{
		"Progress[phase read images done 1000 perSecond 100]",
		"Progress[phase prune images done 2000 total 4000 perSecond 400]",
	}
	if !slices.Equal(lines, want) {
		t.Errorf("told\n%q\nwant\n%q", lines, want)
	}
}

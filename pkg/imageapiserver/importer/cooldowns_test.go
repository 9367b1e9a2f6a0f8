package importer

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/component-base/metrics/testutil"
	testingclock "k8s.io/utils/clock/testing"

	"image.alauda.io/registry/pkg/oci/remote"
)

func TestRegistriesThatAreLeftAloneAreShown(t *testing.T) {
	entries := []remote.Cooldown{
		{Host: "a.example", Until: testTime.Add(90 * time.Second)},
		{Host: "over.example", Until: testTime.Add(-time.Second)},
	}
	collector := &cooldowns{list: func() []remote.Cooldown { return entries }, clock: testingclock.NewFakePassiveClock(testTime)}
	want := `# HELP image_apiserver_registry_cooldown [ALPHA] Seconds for which a registry is still left alone because it asked for it.
# TYPE image_apiserver_registry_cooldown gauge
image_apiserver_registry_cooldown{registry="a.example"} 90
`
	if err := testutil.CustomCollectAndCompare(collector, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
	for at := range 100 {
		entries = append(entries, remote.Cooldown{Host: fmt.Sprint("h", at), Until: testTime.Add(time.Hour)})
	}
	if got := longest(entries); len(got) != mostCooldowns || got[0].Host != "h0" {
		t.Errorf("%d entries, first %+v", len(got), got[0])
	}
}

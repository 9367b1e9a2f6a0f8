package importer

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/component-base/metrics"
	"k8s.io/component-base/metrics/legacyregistry"
	"k8s.io/utils/clock"

	"image.alauda.io/registry/pkg/oci/remote"
)

// mostCooldowns bounds the values of the label: users choose the registries.
const mostCooldowns = 50

var cooldownDesc = metrics.NewDesc("image_apiserver_registry_cooldown",
	"Seconds for which a registry is still left alone because it asked for it.",
	[]string{"registry"}, nil, metrics.ALPHA, "")

// cooldowns shows the registries that are left alone.
type cooldowns struct {
	metrics.BaseStableCollector

	list  func() []remote.Cooldown
	clock clock.PassiveClock
}

// shown is what the metrics of the process have. Like all metrics it is one for the process, in which tests
// run several servers.
var (
	shown    atomic.Pointer[func() []remote.Cooldown]
	showOnce sync.Once
)

// ShowCooldowns adds the registries that the client of this process leaves alone at present to
// its metrics, those with the longest pause if there are many. The last call counts.
func ShowCooldowns(list func() []remote.Cooldown) {
	shown.Store(&list)
	showOnce.Do(func() {
		legacyregistry.CustomMustRegister(&cooldowns{
			list: func() []remote.Cooldown { return (*shown.Load())() }, clock: clock.RealClock{},
		})
	})
}

// DescribeWithStability implements metrics.StableCollector.
func (c *cooldowns) DescribeWithStability(ch chan<- *metrics.Desc) { ch <- cooldownDesc }

// CollectWithStability implements metrics.StableCollector.
func (c *cooldowns) CollectWithStability(ch chan<- metrics.Metric) {
	now := c.clock.Now()
	for _, entry := range longest(c.list()) {
		if left := entry.Until.Sub(now); left > 0 {
			ch <- metrics.NewLazyConstMetric(cooldownDesc, metrics.GaugeValue, left.Round(time.Second).Seconds(), entry.Host)
		}
	}
}

func longest(entries []remote.Cooldown) []remote.Cooldown {
	sorted := slices.Clone(entries)
	slices.SortStableFunc(sorted, func(a, b remote.Cooldown) int { return b.Until.Compare(a.Until) })
	return sorted[:min(len(sorted), mostCooldowns)]
}

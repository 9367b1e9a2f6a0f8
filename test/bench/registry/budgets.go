package main

import (
	"fmt"
	"strings"
	"time"
)

// budget is one promise with what was reached.
type budget struct {
	what, limit, reached string
	met                  bool
}

// ratioBudgets are promises about throughput beside a reference. The names are the beginnings of rows.
var ratioBudgets = []struct {
	row       string
	clients   int // 0 for all
	reference string
	least     float64
}{
	{"blob pull 1 MiB", 0, contenderFiles, 0.9},
	{"blob pull 100 MiB", 0, contenderFiles, 0.9},
	{"blob pull 1 KiB", 16, contenderStock, 4},
	{"image push 1 KiB", 8, contenderStock, 1},
	{"image push 1 MiB", 8, contenderStock, 1},
	{"blob push 1 KiB", 8, contenderStock, 1.2},
	{"blob push 1 MiB", 8, contenderStock, 1.2},
	{"manifest", 0, contenderStock, 1.2},
}

const (
	listLatency    = 50 * time.Millisecond
	downloadMemory = 128 * kib
	slowMemory     = 256 * mib
	startLimit     = 5 * time.Second
)

// budgets compares what was measured; what was not measured is left out.
func (r *report) budgets() (list []budget) {
	for _, promise := range ratioBudgets {
		for _, row := range r.rows {
			if !strings.HasPrefix(row.name, promise.row) || promise.clients != 0 && row.clients != promise.clients {
				continue
			}
			ratio := row.ratio(promise.reference)
			list = append(list, budget{
				what:  fmt.Sprintf("%s, %d clients, to %s", row.name, row.clients, promise.reference),
				limit: fmt.Sprintf("≥ %.1f", promise.least), reached: times(ratio), met: ratio >= promise.least,
			})
		}
	}
	for _, row := range r.rows {
		if row.latency {
			p99 := row.percentile(contenderOurs, .99)
			list = append(list, budget{row.name + ", p99", "≤ 50 ms", milliseconds(p99) + " ms", p99 <= listLatency})
		}
	}
	for _, m := range r.memory {
		if m.contender == contenderOurs && m.transfers == slowDownloads {
			list = append(list,
				budget{"memory for each open download", "≤ 128 KiB", fmt.Sprintf("%d KiB", m.perTransfer/kib), m.perTransfer <= downloadMemory},
				budget{"memory with 1,000 slow downloads", "< 256 MiB", mebibytes(m.peak), m.peak < slowMemory})
		}
	}
	for _, s := range r.starts {
		if s.contender == contenderOurs {
			middle, _, _ := median(s.took)
			list = append(list, budget{"start until ready", "≤ 5 s", milliseconds(middle) + " ms", middle <= startLimit})
		}
	}
	return list
}

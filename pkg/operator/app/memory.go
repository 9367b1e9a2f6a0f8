package app

import (
	"os"
	"runtime/debug"

	"image.alauda.io/registry/pkg/memlimit"
)

// collectAt is how much garbage, in percent of what is in use, is left until it is collected. Most of what the
// operator has in use are caches that hardly change, and it computes little: twice as many collections cost a quarter
// of a second at the start on a cluster with 10,000 ServiceAccounts, and save 20 MiB for good.
const collectAt = 50

// spareMemory tunes the garbage collector; the environment of Go wins.
func spareMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(collectAt)
	}
	memlimit.Apply()
}

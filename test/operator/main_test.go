//go:build component

package operator

import (
	"flag"
	"os"
	"testing"

	"k8s.io/klog/v2"
)

// TestMain lets the operator log why it writes: that is the first question when a test fails.
func TestMain(m *testing.M) {
	flags := flag.NewFlagSet("klog", flag.ContinueOnError)
	klog.InitFlags(flags)
	if err := flags.Set("v", "2"); err != nil {
		os.Exit(1)
	}
	os.Exit(m.Run())
}

//go:build component

package operator

import (
	"context"
	"flag"
	"os"
	"testing"

	"k8s.io/klog/v2"

	"image.alauda.io/registry/pkg/operator/app"
)

// TestMain lets the operator log why it writes: that is the first question when a test fails. Where the operator
// starts its own program to test a storage, that program is this one.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == app.StorageCheckCommand {
		os.Exit(app.Run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
	}
	// Each test has a control plane of its own and mostly waits for it, so more run side by side than there are
	// processors. Those that measure time run alone.
	if err := flag.Set("test.parallel", "3"); err != nil {
		os.Exit(1)
	}
	flags := flag.NewFlagSet("klog", flag.ContinueOnError)
	klog.InitFlags(flags)
	if err := flags.Set("v", "2"); err != nil {
		os.Exit(1)
	}
	os.Exit(m.Run())
}

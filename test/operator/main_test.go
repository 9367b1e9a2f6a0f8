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
	flags := flag.NewFlagSet("klog", flag.ContinueOnError)
	klog.InitFlags(flags)
	if err := flags.Set("v", "2"); err != nil {
		os.Exit(1)
	}
	os.Exit(m.Run())
}

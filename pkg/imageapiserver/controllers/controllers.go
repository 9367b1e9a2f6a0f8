// Package controllers runs the background work of the image API server: of several replicas, one at a
// time works, the one that holds the Lease.
//
// In: controllers, each with a name, and the selection of --controllers. Out: all selected controllers
// running while this process leads; when the lease is lost they end, and the process tries to lead again.
// The API is served all the time, whoever leads.
//
// On shutdown the lease is kept until the last controller has ended, so that two processes never work at
// the same time, and is released then, so that the next one begins at once.
//
// The package knows nothing about images; each controller is a package below this one.
package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"k8s.io/klog/v2"
)

// Names of the controllers, as --controllers takes them.
const (
	ImageImport     = "image-import"
	ScheduledImport = "scheduled-import"
	ImageTrigger    = "image-trigger"
	QuotaStatus     = "quota-status"
	ImageMetadata   = "image-metadata"
)

// Names are all controllers.
func Names() []string {
	return []string{ImageImport, ScheduledImport, ImageTrigger, QuotaStatus, ImageMetadata}
}

// Controller is work in the background.
type Controller interface {
	// Name is one of Names.
	Name() string
	// Run works until the context ends, and returns only when all of its work has ended. An error says
	// that it could not begin; it is tried again with the next lease.
	Run(ctx context.Context) error
}

// Selection says which controllers run, in the grammar of kube-controller-manager: "*" for all, a name
// for one, a name with "-" before it for one that does not run even with "*".
type Selection []string

// Validate refuses unknown names.
func (s Selection) Validate() error {
	var problems []error
	for _, entry := range s {
		if entry != "*" && !slices.Contains(Names(), strings.TrimPrefix(entry, "-")) {
			problems = append(problems, fmt.Errorf("--controllers: %q is none of %s", entry, strings.Join(Names(), ", ")))
		}
	}
	return errors.Join(problems...)
}

// Has tells whether a controller runs.
func (s Selection) Has(name string) bool {
	if slices.Contains(s, "-"+name) {
		return false
	}
	return slices.Contains(s, name) || slices.Contains(s, "*")
}

// runAll runs controllers side by side until the context ends and all of them have returned.
func runAll(ctx context.Context, all []Controller) {
	var running sync.WaitGroup
	for _, controller := range all {
		running.Go(func() {
			logger := klog.FromContext(ctx).WithValues("controller", controller.Name())
			logger.V(2).Info("Controller starts")
			if err := controller.Run(klog.NewContext(ctx, logger)); err != nil && ctx.Err() == nil {
				logger.Error(err, "Controller ended; it starts again with the next lease")
				return
			}
			logger.V(2).Info("Controller ended")
		})
	}
	running.Wait()
}

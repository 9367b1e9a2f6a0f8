package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"

	"image.alauda.io/registry/pkg/imageapiserver/controllers"
	importcontroller "image.alauda.io/registry/pkg/imageapiserver/controllers/importer"
	"image.alauda.io/registry/pkg/imageapiserver/controllers/metadata"
	"image.alauda.io/registry/pkg/imageapiserver/controllers/scheduled"
	"image.alauda.io/registry/pkg/imageapiserver/serverconfig"
	"image.alauda.io/registry/pkg/imageapiserver/streaminformer"
)

// importing is what the controllers of imports share: the same runner, so that a failure is told once, and
// the schedule, which is told about imports for other reasons.
type importing struct {
	runner   *importcontroller.Runner
	events   *importcontroller.FailureEvents
	schedule *scheduled.Controller
}

// importing is built with the first controller that needs it.
func (b *background) importing() (*importing, error) {
	if b.shared != nil {
		return b.shared, nil
	}
	events := importcontroller.NewFailureEvents(b.config.events)
	runner := &importcontroller.Runner{
		Streams: b.group.Streams, Engine: b.imports.importer, Keyrings: b.imports.credentials, Applier: b.group.Imports,
		Failures: func(_ context.Context, outcome importcontroller.Outcome) { events.Report(outcome) },
	}
	schedule, err := scheduled.New(scheduled.Options{
		Streams: b.streams, Runner: runner, Settings: scheduleSettings(b.config.source), Clock: clock.RealClock{},
	})
	if err != nil {
		return nil, err
	}
	b.shared = &importing{runner: runner, events: events, schedule: schedule}
	return b.shared, nil
}

// imageImport builds the controller that imports what specs ask for.
func imageImport(b *background) (controllers.Controller, error) {
	shared, err := b.importing()
	if err != nil {
		return nil, err
	}
	source := b.config.source
	return importcontroller.New(importcontroller.Options{
		Streams: b.streams, Runner: shared.runner, Events: shared.events, Postpone: shared.schedule.Postpone,
		Workers: func() int { return int(source.Current().ImageImport.Workers) }, Clock: clock.RealClock{},
	})
}

// scheduledImport builds the controller that repeats imports.
func scheduledImport(b *background) (controllers.Controller, error) {
	shared, err := b.importing()
	if err != nil {
		return nil, err
	}
	return shared.schedule, nil
}

func scheduleSettings(source *serverconfig.Source) func() scheduled.Settings {
	return func() scheduled.Settings {
		config := source.Current().ImageImport
		return scheduled.Settings{
			Disabled:  config.Scheduled.Disabled,
			Interval:  config.Scheduled.MinimumInterval.Duration,
			PerMinute: int(config.Scheduled.MaxImportsPerMinute),
			Workers:   int(config.Workers),
		}
	}
}

// imageMetadata builds the controller that completes Images.
func imageMetadata(b *background) (controllers.Controller, error) {
	hosts := hosts(b.config.source, b.config.clusterDomain)
	return metadata.New(metadata.Options{
		Images: b.group.Images, Streams: streaminformer.NewLister(b.streams), Store: b.group.Streams,
		Registry: metadata.InternalRegistry{
			Client: b.imports.client, Hosts: hosts, Token: ownToken(b.config.generic.ClientConfig),
		},
		Hosts: hosts, Clock: clock.RealClock{},
	})
}

var errNoToken = errors.New("the server has no token of its own")

// ownToken returns the token with which this server speaks to kube-apiserver, read anew each time: kubelet
// replaces the file before the token expires.
func ownToken(config *rest.Config) func() (string, error) {
	return func() (string, error) {
		token := config.BearerToken
		if config.BearerTokenFile != "" {
			data, err := os.ReadFile(config.BearerTokenFile)
			if err != nil {
				return "", fmt.Errorf("token file: %w", err)
			}
			token = strings.TrimSpace(string(data))
		}
		if token == "" {
			return "", errNoToken
		}
		return token, nil
	}
}

package server

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"

	"github.com/google/uuid"
	"github.com/spf13/pflag"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/healthz"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"image.alauda.io/registry/pkg/imageapiserver/controllers"
)

// defaultNamespace is where the server lives when it does not run in a Pod.
const defaultNamespace = "image-registry-system"

// ControllerOptions say which controllers run, and how.
type ControllerOptions struct {
	// Selection of --controllers.
	Selection []string
	// LeaderElect makes replicas take turns.
	LeaderElect bool
	// Namespace holds the Lease and the Secrets of the server.
	Namespace string
	// Identity of this process among the replicas.
	Identity string
}

func newControllerOptions() *ControllerOptions {
	return &ControllerOptions{Selection: []string{"*"}, LeaderElect: true, Namespace: namespaceOf(), Identity: identity()}
}

// namespaceOf reads what the Deployment passes down.
func namespaceOf() string {
	if namespace := os.Getenv("POD_NAMESPACE"); namespace != "" {
		return namespace
	}
	return defaultNamespace
}

// identity differs from that of an earlier process of the same name, whose lease may still stand.
func identity() string {
	name := os.Getenv("POD_NAME")
	if name == "" {
		name, _ = os.Hostname()
	}
	return name + "_" + uuid.NewString()
}

func (o *ControllerOptions) addFlags(flags *pflag.FlagSet) {
	flags.StringSliceVar(&o.Selection, "controllers", o.Selection, "Controllers to run: * for all, a name for one, -name for all but one. Names: "+strings.Join(controllers.Names(), ", ")+".")
	flags.BoolVar(&o.LeaderElect, "leader-elect", o.LeaderElect, "Run the controllers only while this replica holds the Lease "+controllers.LeaseName+". Without, there must be a single replica.")
}

func (o *ControllerOptions) validate() []error {
	if err := controllers.Selection(o.Selection).Validate(); err != nil {
		return []error{err}
	}
	return nil
}

// background is what a controller can be built from.
type background struct {
	*Server
	config CompletedConfig
	// streams holds all image streams; it runs in every replica.
	streams cache.SharedIndexInformer
	// shared is what the controllers of imports have in common, once one of them is built.
	shared *importing
}

// controllers lists what runs beside the requests in the replica that leads.
func (b *background) controllers() ([]controllers.Controller, error) {
	var all []controllers.Controller
	for _, build := range []func(*background) (controllers.Controller, error){
		// One line for each controller.
		imageImport,
		scheduledImport,
		imageTrigger,
		quotaStatus,
		imageMetadata,
	} {
		controller, err := build(b)
		if err != nil {
			return nil, err
		}
		if controllers.Selection(b.config.controllerOptions.Selection).Has(controller.Name()) {
			all = append(all, controller)
		}
	}
	return all, nil
}

// addControllers lets the informer and the controllers run with the server, and ends the controllers before
// the server ends, so that the next replica takes over at once.
func (b *background) addControllers(generic *genericapiserver.GenericAPIServer) error {
	if err := generic.AddReadyzChecks(healthz.NamedCheck("image-stream-informer", func(*http.Request) error {
		if !b.streams.HasSynced() {
			return errStreamsNotSynced
		}
		return nil
	})); err != nil {
		return err
	}
	all, err := b.controllers()
	if err != nil {
		return fmt.Errorf("controllers: %w", err)
	}
	options := b.config.controllerOptions
	ctx, stop := context.WithCancel(context.Background())
	var mu sync.Mutex
	var running sync.WaitGroup
	if err := generic.AddPostStartHook("image-controllers", func(hook genericapiserver.PostStartHookContext) error {
		go b.streams.RunWithContext(hook)
		mu.Lock()
		defer mu.Unlock()
		if ctx.Err() != nil {
			return nil
		}
		running.Go(func() {
			if !cache.WaitForCacheSync(ctx.Done(), b.streams.HasSynced) {
				return
			}
			if err := controllers.Run(ctx, controllers.Options{
				Kube: b.config.client, Namespace: options.Namespace, Identity: options.Identity, LeaderElect: options.LeaderElect,
			}, all); err != nil {
				klog.FromContext(hook).Error(err, "The controllers cannot run")
			}
		})
		return nil
	}); err != nil {
		stop()
		return err
	}
	return generic.AddPreShutdownHook("image-controllers", func() error {
		mu.Lock()
		stop()
		mu.Unlock()
		running.Wait()
		return nil
	})
}

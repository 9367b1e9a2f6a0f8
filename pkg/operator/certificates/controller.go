package certificates

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	networkinglisters "k8s.io/client-go/listers/networking/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"

	imageregistryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/keyed"
)

const (
	controllerName = "certificates"
	configName     = imageregistryv1.SingletonName
	// syncTimeout bounds one sync, so that a hanging API server cannot hold the worker.
	syncTimeout = 30 * time.Second
)

// Options are what the controller works with. Every field without a note is required.
type Options struct {
	Client kubernetes.Interface
	// Namespaced serves the caches of the operand namespace; the caller starts it after New.
	Namespaced informers.SharedInformerFactory
	// Configs is the informer of Config; the caller starts its factory after New.
	Configs cache.SharedIndexInformer
	// Namespace is the operand namespace.
	Namespace string
	// ClusterDomain is the DNS suffix of the cluster, such as cluster.local.
	ClusterDomain string
	// Lifetimes default to those of DefaultLifetimes.
	Lifetimes Lifetimes
	// Trusted returns what those trust who get the bundle through other objects, as PEM by the name of the
	// object; optional. A next signer does not sign before it is in all of them.
	Trusted func() map[string][]byte
	// Clock defaults to the real one.
	Clock clock.WithTicker
	// Events records an event on Config/cluster; optional.
	Events func(eventType, reason, message string)
	// OnChange is called after a sync that changed Status; optional. It must not block.
	OnChange func()
}

// Validate names the first field that is missing.
func (o Options) Validate() error {
	switch {
	case o.Client == nil:
		return errors.New("certificates: Client is required")
	case o.Namespaced == nil || o.Configs == nil:
		return errors.New("certificates: Namespaced and Configs are required")
	case o.Namespace == "" || o.ClusterDomain == "":
		return errors.New("certificates: Namespace and ClusterDomain are required")
	}
	if o.Lifetimes == (Lifetimes{}) {
		return nil
	}
	if err := o.Lifetimes.Validate(); err != nil {
		return fmt.Errorf("certificates: %w", err)
	}
	return nil
}

// Status is what is known after the last sync.
type Status struct {
	// Certificates lists the authority and the serving certificates, in a fixed order.
	Certificates []Certificate
	// Bundle is the trust bundle in PEM, as published.
	Bundle []byte
	// Problems can only be mended by the administrator.
	Problems []Problem
	// FailingSince is zero while syncs succeed; Err is the last failure.
	FailingSince time.Time
	Err          error
}

// Controller keeps the certificates as Decide wants them.
type Controller struct {
	Options
	*keyed.Single
	secrets    corelisters.SecretNamespaceLister
	services   corelisters.ServiceNamespaceLister
	configMaps corelisters.ConfigMapNamespaceLister
	ingresses  networkinglisters.IngressNamespaceLister

	mu     sync.Mutex
	status Status
	told   map[Event]time.Time
}

// New prepares the controller and registers its event handlers.
func New(o Options) (*Controller, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	core, ingresses := o.Namespaced.Core().V1(), o.Namespaced.Networking().V1().Ingresses()
	c := &Controller{
		Options:    o,
		secrets:    core.Secrets().Lister().Secrets(o.Namespace),
		services:   core.Services().Lister().Services(o.Namespace),
		configMaps: core.ConfigMaps().Lister().ConfigMaps(o.Namespace),
		ingresses:  ingresses.Lister().Ingresses(o.Namespace),
		told:       map[Event]time.Time{},
	}
	c.Single = keyed.NewSingle(controllerName, o.Clock, c.Sync)
	watched := []struct {
		informer cache.SharedIndexInformer
		names    []string
	}{
		{core.Secrets().Informer(), []string{CASecretName, RegistrySecretName, APIServerSecretName, OperatorSecretName}},
		{core.Services().Informer(), []string{registryService, apiServerService}},
		{core.ConfigMaps().Informer(), []string{BundleConfigMapName}},
		{o.Configs, []string{configName}},
		{ingresses.Informer(), nil},
	}
	for _, w := range watched {
		registration, err := w.informer.AddEventHandler(c.handler(w.names))
		if err != nil {
			return nil, fmt.Errorf("certificates: watch: %w", err)
		}
		c.Await(registration.HasSynced)
	}
	return c, nil
}

// handler enqueues the one key for events of the named objects, of all objects if none is named, and of the
// Secrets of routes.
func (c *Controller) handler(names []string) cache.ResourceEventHandler {
	wanted := map[string]bool{}
	for _, name := range names {
		wanted[name] = true
	}
	return cache.FilteringResourceEventHandler{
		FilterFunc: func(obj any) bool {
			key, err := cache.DeletionHandlingObjectToName(obj)
			return err == nil && (len(names) == 0 || wanted[key.Name] || isRouteSecret(key.Name))
		},
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc:    func(any) { c.Enqueue() },
			UpdateFunc: func(any, any) { c.Enqueue() },
			DeleteFunc: func(any) { c.Enqueue() },
		},
	}
}

// Status returns what is known after the last sync.
func (c *Controller) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status
}

// Sync brings the cluster to what Decide wants once, and returns the time to the next check.
func (c *Controller) Sync(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	in, err := c.gather()
	if err != nil {
		c.report(Result{}, err)
		return 0, err
	}
	if c.Trusted != nil {
		in.Trusted = c.Trusted()
	}
	result := Decide(in)
	err = c.write(ctx, in, result)
	c.report(result, err)
	if err != nil {
		return 0, err
	}
	return result.NextCheck.Sub(in.Now), nil
}

// gather reads the caches.
func (c *Controller) gather() (Input, error) {
	in := Input{
		Now:           c.Clock.Now(),
		Namespace:     c.Namespace,
		ClusterDomain: c.ClusterDomain,
		Lifetimes:     c.Lifetimes,
		Leaves:        map[string]*corev1.Secret{},
		ClusterIPs:    map[string][]string{},
	}
	object, exists, err := c.Configs.GetIndexer().GetByKey(configName)
	if err != nil {
		return in, fmt.Errorf("read Config %s: %w", configName, err)
	}
	if config, ok := object.(*imageregistryv1.Config); exists && ok {
		state := config.Spec.ManagementState
		in.Serving = config.DeletionTimestamp == nil && (state == imageregistryv1.Managed || state == imageregistryv1.Unmanaged)
		in.ServicesComing = in.Serving && state == imageregistryv1.Managed
		in.RotateCA = config.Annotations[rotateCAAnnotation]
		in.RotateServing = config.Annotations[rotateLeaf]
	}
	if in.CASecret, err = c.secret(CASecretName); err != nil {
		return in, err
	}
	config, _ := object.(*imageregistryv1.Config)
	if in.Routes, err = c.routeSpecs(config); err != nil {
		return in, err
	}
	for _, spec := range in.specs() {
		if in.Leaves[spec.secret], err = c.secret(spec.secret); err != nil {
			return in, err
		}
		if spec.service == "" {
			continue
		}
		service, err := c.services.Get(spec.service)
		switch {
		case apierrors.IsNotFound(err):
		case err != nil:
			return in, fmt.Errorf("read Service %s: %w", spec.service, err)
		default:
			in.ClusterIPs[spec.service] = service.Spec.ClusterIPs
		}
	}
	bundle, err := c.configMaps.Get(BundleConfigMapName)
	if err != nil && !apierrors.IsNotFound(err) {
		return in, fmt.Errorf("read ConfigMap %s: %w", BundleConfigMapName, err)
	}
	if err == nil {
		in.Published = bundle
	}
	return in, nil
}

// secret returns nil for a Secret that does not exist.
func (c *Controller) secret(name string) (*corev1.Secret, error) {
	secret, err := c.secrets.Get(name)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read Secret %s: %w", name, err)
	}
	return secret, nil
}

// report keeps the outcome for Status and sends the events, equal ones at most once an hour.
func (c *Controller) report(result Result, err error) {
	now := c.Clock.Now()
	c.mu.Lock()
	before := c.status
	next := Status{Certificates: result.Certificates, Bundle: result.Bundle, Problems: result.Problems, Err: err}
	if err != nil {
		next.Certificates, next.Bundle, next.Problems = before.Certificates, before.Bundle, before.Problems
		next.FailingSince = before.FailingSince
		if next.FailingSince.IsZero() {
			next.FailingSince = now
		}
	}
	c.status = next
	var due []Event
	for _, event := range result.Events {
		if last, ok := c.told[event]; err == nil && (!ok || now.Sub(last) >= time.Hour) {
			c.told[event] = now
			due = append(due, event)
		}
	}
	for event, last := range c.told {
		if now.Sub(last) > 2*time.Hour {
			delete(c.told, event)
		}
	}
	c.mu.Unlock()

	for _, event := range due {
		if c.Events != nil {
			c.Events(event.Type, event.Reason, event.Message)
		}
	}
	if c.OnChange != nil && !sameStatus(before, next) {
		c.OnChange()
	}
}

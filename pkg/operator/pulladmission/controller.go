package pulladmission

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/apply"
	"image.alauda.io/registry/pkg/operator/keyed"
	"image.alauda.io/registry/pkg/operator/pullsecret"
	"image.alauda.io/registry/pkg/operator/render"
)

const (
	controllerName = "pull-admission"
	// lookAgain is when the kinds that are served are looked at again, and the objects compared.
	lookAgain   = 10 * time.Minute
	syncTimeout = 30 * time.Second
	// theName is that of policy and binding, which belong together.
	theName = render.PullAdmissionName

	policies = "mutatingadmissionpolicies"
	bindings = "mutatingadmissionpolicybindings"
)

// versions of the API, the preferred one first.
var versions = []string{"v1", "v1beta1"}

// Options are what the controller works with. Every field without a note is required.
type Options struct {
	Client    dynamic.Interface
	Discovery discovery.DiscoveryInterface
	// Configs is the informer of Config; the caller starts it after New.
	Configs  cache.SharedIndexInformer
	Settings render.Settings
	// Clock defaults to the real one.
	Clock clock.WithTicker
}

// Validate names the first field that is missing.
func (o Options) Validate() error {
	switch {
	case o.Client == nil || o.Discovery == nil:
		return errors.New("pull admission: Client and Discovery are required")
	case o.Configs == nil:
		return errors.New("pull admission: Configs is required")
	case o.Settings.Namespace == "":
		return errors.New("pull admission: Settings.Namespace is required")
	}
	return nil
}

// Controller keeps policy and binding as Decide wants them.
type Controller struct {
	Options
	*keyed.Single
	watch watches
}

// New prepares the controller and registers its event handler.
func New(o Options) (*Controller, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	c := &Controller{Options: o}
	c.Single = keyed.NewSingle(controllerName, o.Clock, c.sync)
	c.watch.onEvent = c.Enqueue
	registration, err := o.Configs.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { c.Enqueue() }, UpdateFunc: func(any, any) { c.Enqueue() }, DeleteFunc: func(any) { c.Enqueue() },
	})
	if err != nil {
		return nil, fmt.Errorf("pull admission: watch Config: %w", err)
	}
	c.Await(registration.HasSynced)
	return c, nil
}

// Run works until ctx ends.
func (c *Controller) Run(ctx context.Context) {
	defer c.watch.end()
	c.watch.ctx = ctx
	c.Single.Run(ctx)
}

func (c *Controller) sync(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	object, _, err := c.Configs.GetIndexer().GetByKey(registryv1.SingletonName)
	if err != nil {
		return 0, fmt.Errorf("read Config %s: %w", registryv1.SingletonName, err)
	}
	config, _ := object.(*registryv1.Config)
	version, err := c.served()
	if err != nil {
		return 0, err
	}
	c.watch.follow(c.Client, version)
	if version == "" {
		return lookAgain, nil
	}
	if !Wanted(config) {
		return lookAgain, c.remove(ctx, version)
	}
	names, prefixes := pullsecret.ScopeOf(config, c.Settings.Namespace).Excluded()
	objects, err := render.PullAdmission(c.Settings, version, names, prefixes)
	if err != nil {
		return 0, err
	}
	for _, object := range objects {
		if err := c.apply(ctx, object); err != nil {
			return 0, err
		}
	}
	return lookAgain, nil
}

// Wanted tells whether Config asks for the policy. A nil config means that there is none.
func Wanted(config *registryv1.Config) bool {
	return pullsecret.EffectiveMode(config) == pullsecret.Full && config.Spec.ImagePullSecret.Admission != registryv1.AdmissionDisabled
}

// served returns the version in which the API server has both kinds; empty if it has them in none.
func (c *Controller) served() (string, error) {
	for _, version := range versions {
		group := schema.GroupVersion{Group: render.PullAdmissionGroup, Version: version}.String()
		list, err := c.Discovery.ServerResourcesForGroupVersion(group)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("resources of %s: %w", group, err)
		}
		if hasBoth(list) {
			return version, nil
		}
	}
	return "", nil
}

func hasBoth(list *metav1.APIResourceList) bool {
	found := map[string]bool{}
	for _, resource := range list.APIResources {
		found[resource.Name] = true
	}
	return found[policies] && found[bindings]
}

func (c *Controller) resource(version, name string) dynamic.ResourceInterface {
	return c.Client.Resource(schema.GroupVersionResource{Group: render.PullAdmissionGroup, Version: version, Resource: name})
}

// apply sends a request only when live and desired differ.
func (c *Controller) apply(ctx context.Context, desired *unstructured.Unstructured) error {
	resource := policies
	if desired.GetKind() == "MutatingAdmissionPolicyBinding" {
		resource = bindings
	}
	client := c.resource(desired.GroupVersionKind().Version, resource)
	reason := "it does not exist"
	live, err := client.Get(ctx, desired.GetName(), metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
	case err != nil:
		return fmt.Errorf("read %s: %w", apply.Describe(desired), err)
	default:
		if reason, err = difference(desired, live); err != nil || reason == "" {
			return err
		}
	}
	klog.FromContext(ctx).V(2).Info("Applying", "object", apply.Describe(desired), "because", reason)
	options := metav1.ApplyOptions{FieldManager: registryv1.OperatorName, Force: true}
	if _, err := client.Apply(ctx, desired.GetName(), desired, options); err != nil {
		return fmt.Errorf("apply %s: %w", apply.Describe(desired), err)
	}
	return nil
}

// difference names the first field that is not as it was applied.
func difference(desired, live *unstructured.Unstructured) (string, error) {
	owned, err := apply.Owned(live, registryv1.OperatorName)
	if err != nil {
		return "", err
	}
	if owned == nil {
		return "it was not applied yet", nil
	}
	return apply.Difference(desired, owned), nil
}

// made says whether the operator made an object: labels can be lost, what it has applied stays its own.
func made(live *unstructured.Unstructured) bool {
	if live.GetLabels()[registryv1.LabelManagedBy] == registryv1.OperatorName {
		return true
	}
	owned, err := apply.Owned(live, registryv1.OperatorName)
	return err == nil && owned != nil
}

// remove deletes the binding first: without it the policy does nothing. Only objects of the operator go.
func (c *Controller) remove(ctx context.Context, version string) error {
	for _, resource := range []string{bindings, policies} {
		client := c.resource(version, resource)
		live, err := client.Get(ctx, theName, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read %s %s: %w", resource, theName, err)
		}
		if !made(live) || live.GetDeletionTimestamp() != nil {
			continue
		}
		uid := live.GetUID()
		err = client.Delete(ctx, theName, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}})
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("delete %s %s: %w", resource, theName, err)
		}
	}
	return nil
}

package pruner

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	batchlisters "k8s.io/client-go/listers/batch/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	client "image.alauda.io/client-go/clientset/versioned/typed/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/apply"
	"image.alauda.io/registry/pkg/operator/bootstrap"
	"image.alauda.io/registry/pkg/operator/fault"
	"image.alauda.io/registry/pkg/operator/keyed"
	"image.alauda.io/registry/pkg/operator/origin"
	"image.alauda.io/registry/pkg/operator/render"
)

const (
	controllerName = "pruner"
	syncTimeout    = 30 * time.Second
	resync         = 10 * time.Minute
	graceRetry     = 30 * time.Second
	// createdBy marks Jobs of the CronJob.
	createdBy = "created-by"
)

// source says which field of ImagePruner a field of the CronJob comes from.
var source = origin.Source{Object: "ImagePruner cluster", Where: "spec.", Fields: []origin.Field{
	{Prefix: "spec.schedule", Setting: "schedule"},
	{Prefix: "spec.timeZone", Setting: "timeZone"},
	{Prefix: "spec.startingDeadlineSeconds", Setting: "startingDeadlineSeconds"},
	{Prefix: "spec.successfulJobsHistoryLimit", Setting: "successfulJobsHistoryLimit"},
	{Prefix: "spec.failedJobsHistoryLimit", Setting: "failedJobsHistoryLimit"},
	{Prefix: "spec.jobTemplate.spec.activeDeadlineSeconds", Setting: "activeDeadlineSeconds"},
	{Prefix: "spec.jobTemplate.spec.template.spec.containers[0].resources", Setting: "resources"},
	{Prefix: "spec.jobTemplate.spec.template.spec.tolerations", Setting: "tolerations"},
	{Prefix: "spec.jobTemplate.spec.template.spec.nodeSelector", Setting: "nodeSelector"},
	{Prefix: "spec.jobTemplate.spec.template.spec.affinity", Setting: "affinity"},
}}

// Options are what the controller works with; every field without a note is required.
type Options struct {
	Kube    kubernetes.Interface
	Pruners client.ImagePrunerInterface
	// PrunerInformer and ConfigInformer bring events; Config is also read from its cache.
	PrunerInformer, ConfigInformer cache.SharedIndexInformer
	Applier                        *apply.Applier
	// Namespaced serves the operand namespace; the caller starts it after New.
	Namespaced informers.SharedInformerFactory
	Settings   render.Settings
	// Clock defaults to the real one.
	Clock clock.WithTicker
	// Metrics is optional.
	Metrics *Metrics
}

// Validate names the first field that is missing.
func (o Options) Validate() error {
	switch {
	case o.Kube == nil || o.Pruners == nil || o.Applier == nil || o.Namespaced == nil:
		return errors.New("pruner controller: Kube, Pruners, Applier and Namespaced are required")
	case o.PrunerInformer == nil || o.ConfigInformer == nil:
		return errors.New("pruner controller: PrunerInformer and ConfigInformer are required")
	}
	return o.Settings.Validate()
}

// Controller keeps the CronJob.
type Controller struct {
	Options
	*keyed.Single
	jobs         batchlisters.JobNamespaceLister
	failingSince time.Time
}

// New prepares the controller and registers its event handlers.
func New(o Options) (*Controller, error) {
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	if err := o.Validate(); err != nil {
		return nil, err
	}
	jobs := o.Namespaced.Batch().V1().Jobs()
	c := &Controller{Options: o, jobs: jobs.Lister().Jobs(o.Settings.Namespace)}
	c.Single = keyed.NewSingle(controllerName, o.Clock, c.Sync)
	always := func(any, any) { c.Enqueue() }
	for _, watch := range []struct {
		informer cache.SharedIndexInformer
		changed  func(before, after any)
	}{{jobs.Informer(), always}, {o.PrunerInformer, c.enqueueAsked}, {o.ConfigInformer, c.enqueueAsked}} {
		registration, err := watch.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    func(any) { c.Enqueue() },
			UpdateFunc: watch.changed,
			DeleteFunc: func(any) { c.Enqueue() },
		})
		if err != nil {
			return nil, fmt.Errorf("pruner controller: watch: %w", err)
		}
		c.Await(registration.HasSynced)
	}
	err := o.Applier.Cache.OnEvent(func(object *unstructured.Unstructured, repeated bool) {
		if !repeated && object.GetLabels()[registryv1.LabelName] == registryv1.PrunerName {
			c.Enqueue()
		}
	})
	if err != nil {
		return nil, fmt.Errorf("pruner controller: %w", err)
	}
	c.Await(o.Applier.Cache.HasSynced)
	return c, nil
}

// enqueueAsked leaves out what the operator writes into the two singletons itself.
func (c *Controller) enqueueAsked(before, after any) {
	if !apply.StatusOnly(before, after) {
		c.Enqueue()
	}
}

// Sync brings the CronJob to what ImagePruner asks for, once, and reports.
func (c *Controller) Sync(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	pruner, err := c.Pruners.Get(ctx, registryv1.SingletonName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		_, err := bootstrap.Pruner(ctx, c.Pruners)
		return resync, err
	}
	if err != nil {
		return c.syncUnreadable(ctx, err)
	}
	removed := c.registryRemoved()
	err = c.apply(ctx, pruner, removed)
	if removed {
		err = errors.Join(err, c.stopJobs(ctx))
	}
	transient := fault.Sort(err).Transient
	switch {
	case len(transient) == 0:
		c.failingSince = time.Time{}
	case c.failingSince.IsZero():
		c.failingSince = c.Clock.Now()
	}
	if reportErr := c.report(ctx, pruner, removed, err, c.writeStatus); reportErr != nil {
		transient = append(transient, reportErr)
	}
	if len(transient) > 0 {
		return graceRetry, errors.Join(transient...)
	}
	return resync, nil
}

// registryRemoved reads the cache: Config that does not exist counts as removed.
func (c *Controller) registryRemoved() bool {
	object, exists, err := c.ConfigInformer.GetStore().GetByKey(registryv1.SingletonName)
	config, ok := object.(*registryv1.Config)
	if err != nil || !exists || !ok {
		return true
	}
	return config.DeletionTimestamp != nil || config.Spec.ManagementState == registryv1.Removed
}

func (c *Controller) apply(ctx context.Context, pruner *registryv1.ImagePruner, removed bool) error {
	objects, err := render.PrunerAccess(c.Settings)
	if err != nil {
		return err
	}
	job, jobErr := render.PruneCronJob(c.Settings, pruner, removed)
	if jobErr == nil {
		objects = append(objects, job)
	}
	errs := []error{jobErr}
	for _, object := range objects {
		_, _, err := c.Applier.Apply(ctx, object)
		if ref := apply.RefOf(object); apierrors.IsInvalid(err) && ref.Kind == "CronJob" {
			err = origin.Fault(ref, err, source)
		}
		errs = append(errs, err)
	}
	if removed {
		errs = append(errs, c.suspend(ctx))
	}
	return errors.Join(errs...)
}

// suspend stops the schedule also when nothing else of the CronJob can be applied, because a field of
// ImagePruner is wrong: without a registry no run may start.
func (c *Controller) suspend(ctx context.Context) error {
	live, err := c.cronJob(ctx)
	if err != nil || live == nil || ptr.Deref(live.Spec.Suspend, false) {
		return err
	}
	_, err = c.Kube.BatchV1().CronJobs(live.Namespace).Patch(ctx, live.Name, types.MergePatchType, []byte(`{"spec":{"suspend":true}}`),
		metav1.PatchOptions{FieldManager: registryv1.OperatorName})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("suspend CronJob %s: %w", live.Name, err)
	}
	return nil
}

// cronJob is nil when it does not exist.
func (c *Controller) cronJob(ctx context.Context) (*batchv1.CronJob, error) {
	object, err := c.Applier.Live(ctx, apply.Ref{Kind: "CronJob", Namespace: c.Settings.Namespace, Name: registryv1.PrunerName})
	if err != nil || object == nil {
		return nil, err
	}
	job := &batchv1.CronJob{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, job); err != nil {
		return nil, fmt.Errorf("decode %s: %w", apply.Describe(object), err)
	}
	return job, nil
}

// ownJobs are Jobs that the CronJob made; others in the namespace do not count.
func (c *Controller) ownJobs() ([]*batchv1.Job, error) {
	found, err := c.jobs.List(labels.SelectorFromSet(labels.Set{createdBy: registryv1.PrunerName}))
	if err != nil {
		return nil, fmt.Errorf("list Jobs of the pruner: %w", err)
	}
	var own []*batchv1.Job
	for _, job := range found {
		owner := metav1.GetControllerOf(job)
		if owner != nil && owner.Kind == "CronJob" && owner.Name == registryv1.PrunerName && strings.HasPrefix(owner.APIVersion, batchv1.GroupName+"/") {
			own = append(own, job)
		}
	}
	return own, nil
}

// stopJobs deletes Jobs that still run.
func (c *Controller) stopJobs(ctx context.Context) error {
	jobs, err := c.ownJobs()
	if err != nil {
		return err
	}
	var errs []error
	foreground := metav1.DeletePropagationForeground
	for _, job := range jobs {
		if end(job) != nil || job.DeletionTimestamp != nil {
			continue
		}
		err := c.Kube.BatchV1().Jobs(job.Namespace).Delete(ctx, job.Name, metav1.DeleteOptions{
			PropagationPolicy: &foreground,
			Preconditions:     &metav1.Preconditions{UID: &job.UID},
		})
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			errs = append(errs, fmt.Errorf("delete Job %s: %w", job.Name, err))
		}
	}
	return errors.Join(errs...)
}

func (c *Controller) writeStatus(ctx context.Context, next *registryv1.ImagePruner) error {
	_, err := c.Pruners.UpdateStatus(ctx, next, metav1.UpdateOptions{FieldManager: registryv1.OperatorName})
	return err
}

func (c *Controller) report(ctx context.Context, pruner *registryv1.ImagePruner, removed bool, applyErr error, write func(context.Context, *registryv1.ImagePruner) error) error {
	in := Input{Now: c.Clock.Now(), Pruner: pruner, RegistryRemoved: removed, Err: applyErr, FailingSince: c.failingSince}
	var err error
	if in.CronJob, err = c.cronJob(ctx); err != nil {
		return err
	}
	if in.Jobs, err = c.ownJobs(); err != nil {
		return err
	}
	if in.Report, err = c.lastWords(ctx, LastFinished(in.Jobs)); err != nil {
		return err
	}
	status := Decide(in)
	c.Metrics.report(in.CronJob, status, in.Report)
	if equality.Semantic.DeepEqual(pruner.Status, status) {
		return nil
	}
	next := pruner.DeepCopy()
	next.Status = status
	if err := write(ctx, next); err != nil {
		return fmt.Errorf("write status of ImagePruner %s: %w", pruner.Name, err)
	}
	return nil
}

// lastWords reads the report that the pruner left in its Pod, nil when the Pod is gone or left none.
func (c *Controller) lastWords(ctx context.Context, job *batchv1.Job) (*Report, error) {
	if job == nil {
		return nil, nil
	}
	pods, err := c.Kube.CoreV1().Pods(job.Namespace).List(ctx, metav1.ListOptions{
		LabelSelector: labels.Set{batchv1.JobNameLabel: job.Name}.String(),
	})
	if err != nil {
		return nil, fmt.Errorf("list Pods of Job %s: %w", job.Name, err)
	}
	return LastWords(job, pods.Items), nil
}

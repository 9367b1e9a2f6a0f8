package provision

import (
	"context"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	storagelisters "k8s.io/client-go/listers/storage/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"

	"image.alauda.io/registry/hack/devcluster/internal/plan"
)

// Controller provisions claims and removes released volumes.
type Controller struct {
	client  kubernetes.Interface
	root    string
	claims  corelisters.PersistentVolumeClaimLister
	volumes corelisters.PersistentVolumeLister
	classes storagelisters.StorageClassLister
	queue   workqueue.TypedRateLimitingInterface[key]
	start   func(context.Context) bool
}

// key is one claim, or one volume when it has no namespace.
type key struct{ namespace, name string }

// New prepares a controller that keeps its folders below root.
func New(client kubernetes.Interface, root string) (*Controller, error) {
	factory := informers.NewSharedInformerFactory(client, 0)
	core := factory.Core().V1()
	classes := factory.Storage().V1().StorageClasses()
	c := &Controller{
		client:  client,
		root:    root,
		claims:  core.PersistentVolumeClaims().Lister(),
		volumes: core.PersistentVolumes().Lister(),
		classes: classes.Lister(),
		queue: workqueue.NewTypedRateLimitingQueue(
			workqueue.NewTypedItemExponentialFailureRateLimiter[key](100*time.Millisecond, 30*time.Second)),
	}
	for _, informer := range []cache.SharedIndexInformer{core.PersistentVolumeClaims().Informer(), core.PersistentVolumes().Informer()} {
		if _, err := informer.AddEventHandler(c.enqueue()); err != nil {
			return nil, fmt.Errorf("provisioner: %w", err)
		}
	}
	// A class that comes later than its claims makes them ready.
	if _, err := classes.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: func(any) { c.enqueueClaims() }}); err != nil {
		return nil, fmt.Errorf("provisioner: %w", err)
	}
	c.start = func(ctx context.Context) bool {
		factory.Start(ctx.Done())
		for _, synced := range factory.WaitForCacheSync(ctx.Done()) {
			if !synced {
				return false
			}
		}
		return true
	}
	return c, nil
}

func (c *Controller) enqueue() cache.ResourceEventHandler {
	add := func(object any) {
		if m, ok := object.(metav1.Object); ok {
			c.queue.Add(key{m.GetNamespace(), m.GetName()})
		}
	}
	return cache.ResourceEventHandlerFuncs{AddFunc: add, UpdateFunc: func(_, now any) { add(now) }}
}

func (c *Controller) enqueueClaims() {
	claims, err := c.claims.List(labels.Everything())
	if err != nil {
		return
	}
	for _, claim := range claims {
		c.queue.Add(key{claim.Namespace, claim.Name})
	}
}

// Run works until ctx ends.
func (c *Controller) Run(ctx context.Context) error {
	if err := os.MkdirAll(c.root, 0o755); err != nil {
		return fmt.Errorf("provisioner: %w", err)
	}
	if !c.start(ctx) {
		return fmt.Errorf("provisioner: watch claims: %w", ctx.Err())
	}
	go func() { <-ctx.Done(); c.queue.ShutDown() }()
	log.Printf("provisioning %s below %s", plan.Provisioner, c.root)
	for {
		k, stop := c.queue.Get()
		if stop {
			return nil
		}
		if err := c.sync(ctx, k); err != nil {
			log.Printf("%s/%s: %v", k.namespace, k.name, err)
			c.queue.AddRateLimited(k)
		} else {
			c.queue.Forget(k)
		}
		c.queue.Done(k)
	}
}

func (c *Controller) sync(ctx context.Context, k key) error {
	if k.namespace == "" {
		return c.syncVolume(ctx, k.name)
	}
	return c.syncClaim(ctx, k)
}

func (c *Controller) syncClaim(ctx context.Context, k key) error {
	claim, err := c.claims.PersistentVolumeClaims(k.namespace).Get(k.name)
	if err != nil {
		return ignoreNotFound(err)
	}
	class, err := c.classOf(claim)
	if err != nil {
		return err
	}
	now, refused := wanted(claim, class)
	if refused != "" {
		return c.event(ctx, claim, corev1.EventTypeWarning, "ProvisioningFailed", refused)
	}
	if !now {
		return nil
	}
	if _, err := c.volumes.Get(volumeName(claim)); err == nil {
		return nil
	}
	volume := volumeFor(c.root, claim, class)
	path, err := folder(c.root, volume)
	if err != nil {
		return err
	}
	if err := makeFolder(path); err != nil {
		return err
	}
	if _, err := c.client.CoreV1().PersistentVolumes().Create(ctx, volume, metav1.CreateOptions{}); err != nil {
		if apierrors.IsAlreadyExists(err) {
			return nil
		}
		return fmt.Errorf("create volume %s: %w", volume.Name, err)
	}
	log.Printf("%s/%s: volume %s", k.namespace, k.name, volume.Name)
	return c.event(ctx, claim, corev1.EventTypeNormal, "ProvisioningSucceeded", "provisioned volume "+volume.Name)
}

// makeFolder makes a folder that any user may write to: Pods choose their user
// freely, and folders of a machine are not handed over by fsGroup.
func makeFolder(path string) error {
	if err := os.MkdirAll(path, 0o777); err != nil {
		return err
	}
	return os.Chmod(path, 0o777)
}

func (c *Controller) syncVolume(ctx context.Context, name string) error {
	volume, err := c.volumes.Get(name)
	if err != nil {
		return ignoreNotFound(err)
	}
	if !discarded(volume) {
		return nil
	}
	path, err := folder(c.root, volume)
	if err != nil {
		return err
	}
	if err := os.RemoveAll(path); err != nil {
		return fmt.Errorf("remove folder: %w", err)
	}
	err = c.client.CoreV1().PersistentVolumes().Delete(ctx, name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &volume.UID}})
	if err == nil {
		log.Printf("volume %s removed with its folder", name)
	}
	return ignoreNotFound(err)
}

func (c *Controller) classOf(claim *corev1.PersistentVolumeClaim) (*storagev1.StorageClass, error) {
	if claim.Spec.StorageClassName == nil || *claim.Spec.StorageClassName == "" {
		return nil, nil
	}
	class, err := c.classes.Get(*claim.Spec.StorageClassName)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return class, err
}

func (c *Controller) event(ctx context.Context, claim *corev1.PersistentVolumeClaim, kind, reason, message string) error {
	now := metav1.Now()
	event := &corev1.Event{
		// The name repeats for the same cause, so a claim that keeps being
		// refused has one event.
		ObjectMeta: metav1.ObjectMeta{Namespace: claim.Namespace, Name: volumeName(claim) + "." + strings.ToLower(reason)},
		InvolvedObject: corev1.ObjectReference{APIVersion: "v1", Kind: "PersistentVolumeClaim",
			Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID},
		Type: kind, Reason: reason, Message: message, Count: 1, FirstTimestamp: now, LastTimestamp: now,
		Source: corev1.EventSource{Component: plan.Provisioner},
	}
	_, err := c.client.CoreV1().Events(claim.Namespace).Create(ctx, event, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

func ignoreNotFound(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

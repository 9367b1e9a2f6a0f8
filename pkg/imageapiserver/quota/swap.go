package quota

import (
	"context"
	"errors"
	"fmt"
	"sort"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	imagev1 "image.alauda.io/api/image/v1"
)

// swapAttempts is how often a quota is written when others write it, too.
const swapAttempts = 6

// EventQuotaExceeded is the reason of the Event that tells of a refusal.
const EventQuotaExceeded = "QuotaExceeded"

// ExceededError says which quota a request exceeds. Clients recognise its
// text.
type ExceededError struct {
	// Quota is the name of the quota.
	Quota string
	// Requested, Used and Hard are about the resources that are exceeded.
	Requested, Used, Hard Amounts
}

// Error names every resource that is exceeded.
func (e *ExceededError) Error() string {
	names := e.Requested.names()
	return fmt.Sprintf("%s %s, requested: %s, used: %s, limited: %s", imagev1.QuotaExceededText, e.Quota,
		e.Requested.text(names), e.Used.text(names), e.Hard.text(names))
}

// change adds step to status.used of a quota, or refuses when that exceeds
// what is hard. It tells whether it wrote. The caller has the turn of the
// namespace.
func (g *Gate) change(ctx context.Context, quota *corev1.ResourceQuota, step Amounts, dryRun bool) (bool, error) {
	current := g.newest(quota)
	for attempt := 1; ; attempt++ {
		next, err := g.next(current, step)
		if err != nil {
			return false, err
		}
		if dryRun {
			return false, nil
		}
		written, err := g.client.ResourceQuotas(quota.Namespace).UpdateStatus(ctx, next, metav1.UpdateOptions{})
		switch {
		case err == nil:
			g.written.Add(quota.Namespace+"/"+quota.Name, written)
			return true, nil
		case apierrors.IsNotFound(err):
			return false, nil // A quota that is gone limits nothing.
		case ctx.Err() != nil:
			return false, fmt.Errorf("%w: quota %s: %w", ErrTryAgain, quota.Name, err)
		case !apierrors.IsConflict(err):
			return false, fmt.Errorf("reserve in quota %s/%s: %w", quota.Namespace, quota.Name, err)
		}
		quotaConflicts.Inc()
		if attempt == swapAttempts {
			return false, fmt.Errorf("%w: quota %s is written by many others", ErrTryAgain, quota.Name)
		}
		if err := g.pause(ctx); err != nil {
			return false, err
		}
		current, err = g.client.ResourceQuotas(quota.Namespace).Get(ctx, quota.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) || err == nil && !Constrains(current) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("quota %s/%s: %w", quota.Namespace, quota.Name, err)
		}
	}
}

// next is the quota with step added, or an *ExceededError. Only what grows can
// exceed. Usage never falls below nothing.
func (g *Gate) next(quota *corev1.ResourceQuota, step Amounts) (*corev1.ResourceQuota, error) {
	next := quota.DeepCopy()
	exceeded := &ExceededError{Quota: quota.Name, Requested: Amounts{}, Used: Amounts{}, Hard: Amounts{}}
	counted := Amounts(nil)
	for name, amount := range step {
		limit, limited := quota.Spec.Hard[name]
		if !limited || amount == 0 {
			continue
		}
		published, found := quota.Status.Used[name]
		used := whole(published)
		if !found {
			if counted == nil {
				counted = g.index.Used(quota.Namespace)
			}
			used = counted[name]
		}
		if hard := whole(limit); amount > 0 && amount > hard-used {
			exceeded.Requested[name], exceeded.Used[name], exceeded.Hard[name] = amount, used, hard
			continue
		}
		set(&next.Status.Used, name, *resource.NewQuantity(max(used+amount, 0), resource.DecimalSI))
		if _, found := next.Status.Hard[name]; !found {
			set(&next.Status.Hard, name, limit)
		}
	}
	if len(exceeded.Requested) > 0 {
		return nil, exceeded
	}
	return next, nil
}

// newest is the quota as the informer has it, or as this process wrote it when
// that is newer.
func (g *Gate) newest(quota *corev1.ResourceQuota) *corev1.ResourceQuota {
	remembered, found := g.written.Get(quota.Namespace + "/" + quota.Name)
	if !found {
		return quota
	}
	written := remembered.(*corev1.ResourceQuota)
	if order, err := resourceversion.CompareResourceVersion(written.ResourceVersion, quota.ResourceVersion); err != nil || order <= 0 || written.UID != quota.UID {
		return quota
	}
	return written
}

// refused counts and tells of a refusal.
func (g *Gate) refused(quota *corev1.ResourceQuota, err error) {
	var exceeded *ExceededError
	if !errors.As(err, &exceeded) {
		return
	}
	for _, name := range exceeded.Requested.names() {
		quotaRejections.WithLabelValues(string(name)).Inc()
	}
	if g.events != nil {
		g.events.Event(&corev1.ObjectReference{
			APIVersion: "v1", Kind: "ResourceQuota", Namespace: quota.Namespace, Name: quota.Name, UID: quota.UID,
		}, corev1.EventTypeWarning, EventQuotaExceeded, err.Error())
	}
}

func set(list *corev1.ResourceList, name corev1.ResourceName, quantity resource.Quantity) {
	if *list == nil {
		*list = corev1.ResourceList{}
	}
	(*list)[name] = quantity
}

func byName(quotas []*corev1.ResourceQuota) {
	sort.Slice(quotas, func(i, j int) bool { return quotas[i].Name < quotas[j].Name })
}

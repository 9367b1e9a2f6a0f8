package pullsecret

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
)

// This file is all that the controller asks of the API server and writes there.

// create makes the Secret that the token will be bound to. If one exists that the cache does not show,
// it is taken over when it is ours, and reported once when it is not; then nothing is returned.
func (c *Controller) create(ctx context.Context, in Input) (*Secret, Plan, error) {
	secrets := c.Client.CoreV1().Secrets(in.Account.Namespace())
	wanted := newSecret(in.Account)
	created, err := secrets.Create(ctx, wanted, metav1.CreateOptions{FieldManager: fieldManager})
	if err == nil {
		c.memory.resolved(keyOf(in.Account))
		return secretFrom(created), Plan{Refresh: reasonNew}, nil
	}
	createErr := fmt.Errorf("create: %w", err)
	if !apierrors.IsAlreadyExists(err) {
		return nil, Plan{}, createErr
	}
	live, err := secrets.Get(ctx, wanted.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, Plan{}, createErr // it is gone already; no event tells of a foreign one, so another attempt must
	}
	if err != nil {
		return nil, Plan{}, fmt.Errorf("read: %w", err)
	}
	in.Secret = secretFrom(live)
	in.Shared = c.shared(in)
	if live.Labels[ManagedLabel] != "true" || taken(in) {
		c.memory.note(c.memory.mended, keyOf(in.Account), in.Now) // an event of the ServiceAccount asks again, at the pace of a repair
		if c.memory.conflict(keyOf(in.Account), live.UID) {
			c.event(corev1.EventTypeWarning, "PullSecretNameConflict",
				"Secret %s/%s was not made by the operator; ServiceAccount %s gets no pull secret until it is renamed or deleted",
				live.Namespace, live.Name, in.Account.Name)
		}
		return nil, Plan{}, nil
	}
	return in.Secret, Decide(in), nil
}

// refresh asks for a token that dies with the Secret and writes it into the Secret.
func (c *Controller) refresh(ctx context.Context, in Input, secret *Secret, s settings, reason string) (time.Time, error) {
	account := in.Account
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: &s.tokenSeconds,
		BoundObjectRef:    &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Secret", Name: secret.Name, UID: secret.UID},
	}}
	if s.audience != "" {
		request.Spec.Audiences = []string{s.audience}
	}
	start := c.Clock.Now()
	response, err := c.Client.CoreV1().ServiceAccounts(account.Namespace()).CreateToken(ctx, account.Name, request, metav1.CreateOptions{})
	if err != nil {
		return time.Time{}, fmt.Errorf("token request: %w", err)
	}
	expires := response.Status.ExpirationTimestamp.Time
	// No token lives longer than was asked for: it only seems so to a clock that is behind the API server's.
	end := expires
	if latest := start.Add(time.Duration(s.tokenSeconds) * time.Second); latest.Before(end) {
		end = latest
	}
	t := token{value: response.Status.Token, expiresAt: expires, refreshAt: refreshTime(start, end, string(secret.UID))}
	patch, err := refreshPatch(secret, account.Name, t, s.hosts, s.hostsHash)
	if err != nil {
		return time.Time{}, err
	}
	c.keys.signedBy(keyID(t.value), start)
	after, err := c.Client.CoreV1().Secrets(secret.Namespace()).Patch(ctx, secret.Name, types.MergePatchType, patch.body, metav1.PatchOptions{FieldManager: fieldManager})
	if noRoom(err) && !secret.Foreign {
		err = errors.Join(err, c.discard(ctx, in, secret)) // its deletion comes back as an event
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("write token: %w", withhold(err, patch.data, t.value))
	}
	c.memory.wroteVersion(keyOf(account), after.ResourceVersion)
	klog.FromContext(ctx).V(4).Info("Wrote pull secret", "secret", klog.KRef(secret.Namespace(), secret.Name), "reason", reason, "refreshAt", t.refreshAt)
	return t.refreshAt, nil
}

// writeReferences writes the list of the ServiceAccount if the plan changes it. Somebody who keeps
// stripping the entry is followed at a bounded pace; the wait until the next turn is returned.
func (c *Controller) writeReferences(ctx context.Context, in Input, plan Plan) (time.Duration, error) {
	if !plan.Inject && len(plan.Ejected) == 0 {
		return 0, nil
	}
	key := keyOf(in.Account)
	if plan.Inject {
		at, drifting := c.memory.next(c.memory.injections, key, in.Now)
		if drifting {
			c.driftEvent(key, in.Account)
		}
		if at.After(in.Now) {
			return at.Sub(in.Now), nil
		}
	}
	account, err := c.whole(ctx, in.Account)
	if err != nil {
		return 0, err
	}
	wanted := wantedReferences(account, plan.Inject, plan.Ejected)
	if slices.Equal(wanted, account.References) {
		return 0, nil
	}
	if err := c.refusals.wait(key, stepReferences, in.Now); err != nil {
		return 0, err
	}
	patch, err := referencesPatch(account, wanted)
	if err != nil {
		return 0, err
	}
	after, err := c.Client.CoreV1().ServiceAccounts(key.Namespace).Patch(ctx, in.Account.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: fieldManager})
	c.refused(key, stepReferences, err)
	if err != nil {
		return 0, fmt.Errorf("write references of ServiceAccount: %w", err)
	}
	for _, name := range plan.Ejected {
		if slices.Contains(after.ImagePullSecrets, corev1.LocalObjectReference{Name: name}) {
			// Admission put it back, and there will be no event: nothing was written. The Secret stays until
			// nobody refers to it.
			return 0, fmt.Errorf("admission keeps %s in imagePullSecrets of the ServiceAccount", name)
		}
	}
	if plan.Inject {
		c.memory.note(c.memory.injections, key, in.Now)
	}
	return 0, nil
}

// whole is the ServiceAccount with all of its references: those of a long list are not in the cache.
func (c *Controller) whole(ctx context.Context, account *Account) (*Account, error) {
	if !account.Long {
		return account, nil
	}
	live, err := c.Client.CoreV1().ServiceAccounts(account.Namespace()).Get(ctx, account.Name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read ServiceAccount: %w", err)
	}
	if live.UID != account.UID {
		return nil, apierrors.NewConflict(corev1.Resource("serviceaccounts"), account.Name, errors.New("it was made anew"))
	}
	return accountFrom(live), nil
}

// foreign tells whether a Secret of the managed name exists that is not ours.
func (c *Controller) foreign(ctx context.Context, account *Account) (bool, error) {
	live, err := c.Client.CoreV1().Secrets(account.Namespace()).Get(ctx, SecretName(account.Name), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read: %w", err)
	}
	return live.Labels[ManagedLabel] != "true", nil
}

// discardAll deletes Secrets that are not wanted, or returns how long they have to wait: who makes one after another
// does not make the controller run after him.
func (c *Controller) discardAll(ctx context.Context, in Input, secrets []*Secret) (time.Duration, error) {
	if len(secrets) == 0 {
		return 0, nil
	}
	if wait := c.paced(in, Plan{Delete: true}); wait > 0 {
		return wait, nil
	}
	for _, secret := range secrets {
		if err := c.discard(ctx, in, secret); err != nil {
			return 0, err
		}
	}
	return 0, nil
}

// discard deletes exactly this Secret. One that is gone, or was replaced, is left.
func (c *Controller) discard(ctx context.Context, in Input, secret *Secret) error {
	c.memory.note(c.memory.discarded, keyOf(in.Account), in.Now)
	err := c.Client.CoreV1().Secrets(secret.Namespace()).Delete(ctx, secret.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(secret.UID))})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete Secret %s: %w", secret.Name, err)
	}
	return nil
}

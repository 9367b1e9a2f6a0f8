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
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

// syncTimeout bounds one sync, so that a hanging API server cannot hold a worker.
const syncTimeout = 30 * time.Second

// foreignRecheck is when a name that is taken is tried again: no event tells that a foreign Secret is gone.
const foreignRecheck = 10 * time.Minute

// Sync brings one ServiceAccount to what Decide wants and returns when to look again; zero means only on
// an event.
func (c *Controller) Sync(ctx context.Context, key types.NamespacedName) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	s, err := c.settings()
	if err != nil {
		return 0, err
	}
	account := c.cachedAccount(key.Namespace, key.Name)
	if account == nil {
		c.forget(key)
		return 0, nil
	}
	in, err := c.gather(account, s)
	if err != nil {
		return 0, err
	}
	c.memory.tidy(key, in.Now)
	if c.memory.behind(key, in.Secret) {
		return time.Second, nil
	}
	after, err := c.execute(ctx, in, s, Decide(in))
	if err != nil {
		return 0, fmt.Errorf("pull secret %s/%s: %w", key.Namespace, SecretName(key.Name), err)
	}
	return after, nil
}

// forget drops what is remembered of a ServiceAccount that is gone, and of its namespace if it was the last one.
func (c *Controller) forget(key types.NamespacedName) {
	c.memory.forget(key)
	if left, err := c.accounts.IndexKeys(cache.NamespaceIndex, key.Namespace); err == nil && len(left) == 0 {
		c.refusals.forget(key.Namespace)
	}
}

// gather reads the caches for one ServiceAccount.
func (c *Controller) gather(account *Account, s settings) (Input, error) {
	in := Input{Mode: Off, Now: c.Clock.Now(), Account: account, HostsHash: s.hostsHash, Keys: c.keys.snapshot()}
	key := keyOf(account)
	namespace, err := c.namespaces.Get(key.Namespace)
	if apierrors.IsNotFound(err) {
		return in, nil
	}
	if err != nil {
		return in, fmt.Errorf("read Namespace %s: %w", key.Namespace, err)
	}
	in.Mode = s.scope.ModeFor(s.mode, namespace, account)
	objects, err := c.secrets.ByIndex(accountIndex, key.String())
	if err != nil {
		return in, fmt.Errorf("find Secrets of ServiceAccount %s: %w", key, err)
	}
	for _, object := range objects {
		if secret, ok := object.(*Secret); ok {
			in.Orphans = append(in.Orphans, secret)
		}
	}
	in.Secret = c.cachedSecret(key.Namespace, SecretName(key.Name))
	in.Shared = c.shared(in)
	return in, nil
}

// shared tells whether the Secret belongs to another ServiceAccount: the shortened form of a long name is a name that
// somebody else may have, or choose. Whoever has it first keeps it.
func (c *Controller) shared(in Input) bool {
	if in.Secret == nil || in.Secret.Account == in.Account.Name || SecretName(in.Secret.Account) != in.Secret.Name {
		return false
	}
	other := c.cachedAccount(in.Secret.Namespace(), in.Secret.Account)
	return other != nil && other.UID == in.Secret.Owner
}

// execute carries the plan out, in the order that never shows a reference without a usable token.
func (c *Controller) execute(ctx context.Context, in Input, s settings, plan Plan) (time.Duration, error) {
	if wait := c.paced(in, plan); wait > 0 {
		return wait, nil
	}
	if plan.Delete {
		// The deletion comes back as an event and the Secret is made anew.
		return 0, c.discard(ctx, in.Secret)
	}
	secret, key := in.Secret, keyOf(in.Account)
	if plan.Create {
		if err := c.refusals.wait(key, stepCreate, in.Now); err != nil {
			return 0, err
		}
		created, refresh, err := c.create(ctx, in)
		c.refused(key, stepCreate, err)
		if err != nil {
			return 0, err
		}
		if created == nil {
			return foreignRecheck, nil
		}
		secret, plan.Refresh, plan.RefreshAt = created, refresh.Refresh, refresh.RefreshAt
		if refresh.Delete {
			return 0, c.discard(ctx, created)
		}
	}
	if plan.Refresh != "" {
		if err := c.refusals.wait(key, stepRefresh, in.Now); err != nil {
			return 0, err
		}
		refreshAt, err := c.refresh(ctx, in.Account, secret, s, plan.Refresh)
		c.Metrics.refreshed(plan.Refresh, err)
		c.refused(key, stepRefresh, err)
		if err != nil {
			return 0, err
		}
		c.memory.noteMended(key, in.Now)
		plan.RefreshAt = refreshAt
	}
	if plan.CheckForeign {
		foreign, err := c.foreign(ctx, in.Account)
		if err != nil {
			return 0, err
		}
		if foreign {
			plan.Ejected = slices.DeleteFunc(plan.Ejected, func(name string) bool { return name == SecretName(in.Account.Name) })
		}
	}
	wait, err := c.writeReferences(ctx, in, plan)
	if err != nil {
		return 0, err
	}
	if in.Mode != Full || wait == 0 {
		c.settled(in)
	}
	for _, orphan := range plan.Discard {
		if err := c.discard(ctx, orphan); err != nil {
			return 0, err
		}
	}
	if !plan.RefreshAt.IsZero() {
		if due := max(plan.RefreshAt.Sub(in.Now), time.Second); wait == 0 || due < wait {
			wait = due
		}
	}
	return wait, nil
}

// create makes the Secret that the token will be bound to. If one exists that the cache does not show,
// it is taken over when it is ours, and reported once when it is not; then nothing is returned.
func (c *Controller) create(ctx context.Context, in Input) (*Secret, Plan, error) {
	secrets := c.Client.CoreV1().Secrets(in.Account.Namespace())
	wanted := newSecret(in.Account)
	created, err := secrets.Create(ctx, wanted, metav1.CreateOptions{FieldManager: fieldManager})
	if err == nil {
		return secretFrom(created), Plan{Refresh: reasonNew}, nil
	}
	if !apierrors.IsAlreadyExists(err) {
		return nil, Plan{}, fmt.Errorf("create: %w", err)
	}
	live, err := secrets.Get(ctx, wanted.Name, metav1.GetOptions{})
	if err != nil {
		return nil, Plan{}, fmt.Errorf("read: %w", err)
	}
	in.Secret = secretFrom(live)
	in.Shared = c.shared(in)
	if live.Labels[ManagedLabel] != "true" || taken(in) {
		c.memory.noteMended(keyOf(in.Account), in.Now) // an event of the ServiceAccount asks again, at the pace of a repair
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
func (c *Controller) refresh(ctx context.Context, account *Account, secret *Secret, s settings, reason string) (time.Time, error) {
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
		err = errors.Join(err, c.discard(ctx, secret)) // its deletion comes back as an event
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
		at, drifting := c.memory.nextInjection(key, in.Now)
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
		c.memory.injected(key, in.Now)
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

// discard deletes exactly this Secret. One that is gone, or was replaced, is left.
func (c *Controller) discard(ctx context.Context, secret *Secret) error {
	err := c.Client.CoreV1().Secrets(secret.Namespace()).Delete(ctx, secret.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(secret.UID))})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete Secret %s: %w", secret.Name, err)
	}
	return nil
}

// settled tells how long a new ServiceAccount waited, unless it is none of ours. Times of the API are whole
// seconds; the arrival of the event is more exact, but says nothing of the time before it.
func (c *Controller) settled(in Input) {
	since, waited := c.memory.settled(keyOf(in.Account))
	if !waited || in.Mode != Full {
		return
	}
	now := c.Clock.Now()
	c.Metrics.injected(max(now.Sub(since), now.Sub(in.Account.Created)-time.Second))
}

func (c *Controller) event(eventType, reason, format string, args ...any) {
	if c.Events != nil {
		c.Events(eventType, reason, fmt.Sprintf(format, args...))
	}
}

func keyOf(account *Account) types.NamespacedName {
	return types.NamespacedName{Namespace: account.Namespace(), Name: account.Name}
}

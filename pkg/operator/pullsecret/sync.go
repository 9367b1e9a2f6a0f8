package pullsecret

import (
	"context"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
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
		return 0, c.discard(ctx, in, in.Secret)
	}
	wait, done, err := c.supply(ctx, in, s, &plan)
	if err != nil || done {
		return wait, err
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
	if wait, err = c.writeReferences(ctx, in, plan); err != nil {
		return 0, err
	}
	if in.Mode != Full || wait == 0 {
		c.settled(in)
	}
	later, err := c.discardAll(ctx, in, plan.Discard)
	if err != nil {
		return 0, err
	}
	wait = sooner(wait, later)
	if !plan.RefreshAt.IsZero() {
		wait = sooner(wait, max(plan.RefreshAt.Sub(in.Now), time.Second))
	}
	return wait, nil
}

// sooner is the shorter of two times to the next look, where zero is none.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b > 0 && b < a {
		return b
	}
	return a
}

// supply makes the Secret and its token as the plan says, and notes in the plan when the next one is due. done tells
// that the rest of the plan has to wait for another look.
func (c *Controller) supply(ctx context.Context, in Input, s settings, plan *Plan) (wait time.Duration, done bool, err error) {
	secret, key := in.Secret, keyOf(in.Account)
	if plan.Create {
		if err := c.refusals.wait(key, stepCreate, in.Now); err != nil {
			return 0, false, err
		}
		created, next, err := c.create(ctx, in)
		c.refused(key, stepCreate, err)
		switch {
		case err != nil:
			return 0, false, err
		case created == nil:
			return foreignRecheck, true, nil
		case next.Delete:
			c.memory.note(c.memory.mended, key, in.Now) // so that the next attempt to create keeps a pace, too
			if wait := c.paced(in, next); wait > 0 {
				return wait, true, nil
			}
			return 0, true, c.discard(ctx, in, created)
		}
		secret, plan.Refresh, plan.RefreshAt = created, next.Refresh, next.RefreshAt
	}
	if plan.Refresh == "" {
		return 0, false, nil
	}
	if err := c.refusals.wait(key, stepRefresh, in.Now); err != nil {
		return 0, false, err
	}
	plan.RefreshAt, err = c.refresh(ctx, in, secret, s, plan.Refresh)
	c.Metrics.refreshed(plan.Refresh, err)
	c.refused(key, stepRefresh, err)
	if err == nil {
		c.memory.note(c.memory.mended, key, in.Now)
	}
	return 0, false, err
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

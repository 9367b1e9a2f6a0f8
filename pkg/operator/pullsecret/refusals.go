package pullsecret

import (
	"fmt"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"image.alauda.io/registry/pkg/operator/keyed"
)

// step is a kind of request that a namespace can have trouble with, apart from the others: a quota that is used up
// lets nothing be created, but what exists is refreshed.
type step string

const (
	stepCreate     step = "create a Secret"
	stepRefresh    step = "write a token"
	stepReferences step = "write references"
)

// A namespace in which this many requests of a kind were refused one after another is left in peace for a while: each
// of its ServiceAccounts has a back-off of its own, but there may be thousands, and each of their events asks again.
// Those that wait come back spread, no later than after the longest back-off.
const (
	refusalsInARow = 10
	refusalPause   = time.Minute
	refusalSpread  = 4 * time.Minute
)

// refusals remember where requests fail. The zero value is ready.
type refusals struct {
	mu   sync.Mutex
	rows map[place]row
}

type place struct {
	namespace string
	step      step
}

type row struct {
	count int
	until time.Time
	last  error
}

// wait returns an error that names a delay while the namespace of key is left in peace.
func (r *refusals) wait(key types.NamespacedName, what step, now time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	found := r.rows[place{key.Namespace, what}]
	if !found.until.After(now) {
		return nil
	}
	after := found.until.Sub(now) + delayWithin(refusalSpread, key)
	pause := apierrors.NewTooManyRequests(fmt.Sprintf("after refusals to %s in Namespace %s", what, key.Namespace), int(after/time.Second)+1)
	return fmt.Errorf("%w: %w", pause, found.last) // what is asked about the error is asked about the pause
}

// note takes in how a request ended and tells whether the namespace is left in peace from now on.
func (r *refusals) note(namespace string, what step, now time.Time, err error) (pauses bool) {
	at := place{namespace, what}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		delete(r.rows, at)
		return false
	}
	if _, told := apierrors.SuggestsClientDelay(err); told || keyed.Classify(err) != keyed.Later {
		return false
	}
	if r.rows == nil {
		r.rows = map[place]row{}
	}
	found := r.rows[at]
	found.count++
	found.last = err
	if found.count >= refusalsInARow {
		found.count, found.until = 0, now.Add(refusalPause)
		pauses = true
	}
	r.rows[at] = found
	return pauses
}

// forget drops a namespace without ServiceAccounts.
func (r *refusals) forget(namespace string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, what := range []step{stepCreate, stepRefresh, stepReferences} {
		delete(r.rows, place{namespace, what})
	}
}

// overQuota tells whether a ResourceQuota of the namespace is used up. The API server has no word for it but these.
func overQuota(err error) bool {
	return err != nil && (apierrors.IsForbidden(err) || apierrors.IsTooManyRequests(err)) && strings.Contains(err.Error(), "exceeded quota")
}

// refused notes how a step of a sync ended, and tells of a namespace in which nothing goes on.
func (c *Controller) refused(key types.NamespacedName, what step, err error) {
	pauses := c.refusals.note(key.Namespace, what, c.Clock.Now(), err)
	switch {
	case overQuota(err):
		c.event(corev1.EventTypeWarning, "PullSecretRefused",
			"the ResourceQuota of Namespace %s leaves no room for pull secrets: raise its limit of secrets by one for each ServiceAccount, or label the Namespace %s=true",
			key.Namespace, IgnoreLabel)
	case pauses:
		c.event(corev1.EventTypeWarning, "PullSecretRefused",
			"the API server refuses to %s in Namespace %s, again and again; the operator tries a few times a minute, and its log names the cause",
			what, key.Namespace)
	}
}

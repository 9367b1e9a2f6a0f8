package pullsecret

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
)

const (
	// expiredTolerance and failingTolerance are how long a trouble lasts before it is Degraded.
	expiredTolerance = 10 * time.Minute
	failingTolerance = 5 * time.Minute
	// failingShare is the share of keys, in percent, that must fail.
	failingShare = 5
)

// Summary is the health of all pull secrets, for status and conditions. It reads the caches only, and
// costs a pass over all ServiceAccounts.
type Summary struct {
	// Mode is the mode that Config asks for.
	Mode Mode
	// Desired counts ServiceAccounts in scope, Ready those of them with a valid, injected Secret.
	Desired, Ready int
	// Failing counts ServiceAccounts whose last sync failed, Expired managed tokens that ran out more
	// than ten minutes ago.
	Failing, Expired int
	// Ignored counts ServiceAccounts out of scope.
	Ignored int
	// Degraded tells that the trouble is big and old enough for a condition; Message says why.
	Degraded bool
	Message  string
}

// Summary counts.
func (c *Controller) Summary() (Summary, error) {
	s, err := c.settings()
	if err != nil {
		return Summary{}, err
	}
	now := c.Clock.Now()
	summary := Summary{Mode: s.configured}
	accounts, err := c.accounts.List(labels.Everything())
	if err != nil {
		return Summary{}, fmt.Errorf("list ServiceAccounts: %w", err)
	}
	for _, account := range accounts {
		in, err := c.gather(account, s)
		if err != nil {
			return Summary{}, err
		}
		summary.count(in, now)
	}
	all, long := c.memory.failingLongerThan(failingTolerance, now)
	summary.Failing = all
	switch {
	case s.mode != Full && s.mode != RefreshOnly:
	case summary.Expired > 0:
		summary.Degraded = true
		summary.Message = fmt.Sprintf("%d pull tokens expired and could not be refreshed", summary.Expired)
	case long*100 > summary.Desired*failingShare:
		summary.Degraded = true
		summary.Message = fmt.Sprintf("%d of %d pull secrets have failed for more than %s", long, summary.Desired, failingTolerance)
	}
	return summary, nil
}

func (s *Summary) count(in Input, now time.Time) {
	if in.Mode != Full && in.Mode != RefreshOnly {
		s.Ignored++
		return
	}
	s.Desired++
	if in.Secret == nil {
		return
	}
	expires, err := time.Parse(time.RFC3339, in.Secret.Annotations[expiresAnnotation])
	if err != nil {
		return
	}
	if now.Sub(expires) > expiredTolerance {
		s.Expired++
	}
	if now.Before(expires) && in.Secret.Type == corev1.SecretTypeDockerConfigJson && references(in.Account, in.Secret.Name) {
		s.Ready++
	}
}

package pullsecret

import (
	"fmt"
	"time"
)

const (
	// expiredTolerance and failingTolerance are how long a trouble lasts before it is Degraded.
	expiredTolerance = 10 * time.Minute
	failingTolerance = 5 * time.Minute
	// failingShare is the share of keys, in percent, that must fail.
	failingShare = 5
)

// Summary is the health of all pull secrets, for status, conditions and metrics. It reads the caches only, and
// costs a pass over all ServiceAccounts.
type Summary struct {
	// Mode is the mode that Config asks for.
	Mode Mode
	// Desired counts ServiceAccounts in scope, Ready those of them with a valid, injected Secret.
	Desired, Ready int
	// Failing counts those that are not ready and whose last sync failed, Expired managed tokens that ran
	// out more than ten minutes ago.
	Failing, Expired int
	// Ignored counts ServiceAccounts out of scope.
	Ignored int
	// Degraded tells that the trouble is big and old enough for a condition; Message says why.
	Degraded bool
	Message  string

	// lasting counts those that have failed for long, ready or not.
	lasting int
	// example is one of those in trouble, the first in the order of names.
	example string
}

// Summary counts.
func (c *Controller) Summary() (Summary, error) {
	s, err := c.settings()
	if err != nil {
		return Summary{}, err
	}
	now := c.Clock.Now()
	summary := Summary{Mode: s.configured}
	failing, crowded := c.memory.fails()
	for _, account := range c.allAccounts() {
		in, err := c.gather(account, s)
		if err != nil {
			return Summary{}, err
		}
		since, fails := failing[keyOf(account)]
		summary.count(in, fails, fails && !crowded[keyOf(account)] && now.Sub(since) >= failingTolerance)
		if !c.memory.contested(keyOf(account), now) && expired(in, now) {
			summary.Expired++
			summary.name(account)
		}
	}
	if s.mode == Full || s.mode == RefreshOnly {
		summary.judge()
	}
	return summary, nil
}

// count takes in one ServiceAccount. A namespace whose own quota leaves no room for Secrets is no failure of the
// registry, however many ServiceAccounts it has; whoever fills it up could make the registry degraded.
func (s *Summary) count(in Input, fails, lasting bool) {
	if in.Mode != Full && in.Mode != RefreshOnly {
		s.Ignored++
		return
	}
	s.Desired++
	if lasting {
		s.lasting++
		s.name(in.Account)
	}
	switch {
	case valid(in):
		s.Ready++
	case fails:
		s.Failing++
	}
}

// expired looks at tokens that the controller ought to have refreshed. A Secret that somebody's finalizer keeps from
// going, or that somebody else made, is not its fault, and neither is, for the caller, one that is written by others
// again and again.
func expired(in Input, now time.Time) bool {
	if in.Mode != Full && in.Mode != RefreshOnly || in.Secret == nil || in.Secret.Deleting || taken(in) {
		return false
	}
	return !in.Secret.Expires.IsZero() && now.Sub(in.Secret.Expires) > expiredTolerance
}

func (s *Summary) name(account *Account) {
	if name := keyOf(account).String(); s.example == "" || name < s.example {
		s.example = name
	}
}

func (s *Summary) judge() {
	const next = "the operator's log names the cause"
	switch {
	case s.Expired > 0:
		s.Degraded = true
		s.Message = fmt.Sprintf("pull tokens expired and could not be refreshed, that of ServiceAccount %s among them; %s", s.example, next)
	case s.lasting*100 > s.Desired*failingShare:
		s.Degraded = true
		s.Message = fmt.Sprintf("more than %d %% of the pull secrets have failed for %s, that of ServiceAccount %s among them; %s",
			failingShare, failingTolerance, s.example, next)
	}
}

// filled tells whether the caches were filled once.
func (c *Controller) filled() bool {
	for _, synced := range c.loop.Synced {
		if !synced() {
			return false
		}
	}
	return true
}

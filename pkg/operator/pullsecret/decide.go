package pullsecret

import (
	"slices"
	"time"
)

// Refresh reasons, also label values of metrics.
const (
	reasonNew      = "new"
	reasonExpiring = "expiring"
	reasonHosts    = "hosts"
	reasonKey      = "key"
	reasonTampered = "tampered"
)

// Input is everything that decides about one ServiceAccount.
type Input struct {
	// Mode is the one of this ServiceAccount, see Scope.ModeFor.
	Mode    Mode
	Now     time.Time
	Account *Account
	// Secret is the cached Secret of the managed name, nil if none with the label exists.
	Secret *Secret
	// Shared: the Secret belongs to another ServiceAccount, whose managed name is the same. Long names are shortened.
	Shared bool
	// Orphans are labelled Secrets of this ServiceAccount under other names.
	Orphans []*Secret
	// HostsHash is the wanted one.
	HostsHash string
	// Keys are the ids of the keys whose tokens the cluster accepts; nil means unknown.
	Keys map[string]bool
}

// Plan is what is to be done, in the order of its fields.
type Plan struct {
	// Delete removes the Secret because it cannot be mended; the key is to be looked at again.
	Delete bool
	// Create makes the Secret, still without a token.
	Create bool
	// Refresh is the reason for a new token; empty means that the present one is good.
	Refresh string
	// Inject adds the reference to the ServiceAccount.
	Inject bool
	// Eject removes the references named in Ejected.
	Ejected []string
	// Discard are Secrets to delete after the references are gone.
	Discard []*Secret
	// CheckForeign: a reference to the managed name exists but no labelled Secret; whether a foreign one
	// does must be read before the reference is removed.
	CheckForeign bool
	// RefreshAt is when the token is due if nothing else happens; zero means never.
	RefreshAt time.Time
}

// Decide follows the algorithm of the pull secrets for one ServiceAccount.
func Decide(in Input) Plan {
	switch in.Mode {
	case Remove:
		return decideRemove(in)
	case Full, RefreshOnly:
		return decideKeep(in)
	}
	return Plan{}
}

func decideRemove(in Input) Plan {
	name := SecretName(in.Account.Name)
	plan := Plan{Discard: slices.Clone(in.Orphans)}
	foreign := in.Secret != nil && (in.Secret.Foreign || in.Shared)
	if in.Secret != nil && !foreign {
		plan.Discard = append(plan.Discard, in.Secret)
	}
	if in.Account.Refers && !foreign {
		plan.Ejected = append(plan.Ejected, name)
		plan.CheckForeign = in.Secret == nil
	}
	plan.Ejected = append(plan.Ejected, referencedOrphans(in)...)
	return plan
}

func decideKeep(in Input) Plan {
	full := in.Mode == Full
	plan := Plan{}
	switch {
	case in.Secret == nil:
		if !full {
			return plan
		}
		plan.Create, plan.Refresh = true, reasonNew
	case in.Secret.Deleting:
		// Somebody's finalizer holds it. Its token is void, and the name is taken until it is gone.
		return plan
	case taken(in):
		// The name is taken; the attempt to create tells of it.
		if full {
			plan.Create, plan.Refresh = true, reasonNew
		}
		return plan
	case unusable(in):
		plan.Delete = true
		return plan
	default:
		plan.Refresh, plan.RefreshAt = refreshReason(in)
	}
	if full {
		plan.Inject = !in.Account.Refers
		plan.Discard = slices.Clone(in.Orphans)
		plan.Ejected = referencedOrphans(in)
	}
	return plan
}

// unusable: type and immutability of a Secret cannot be changed, and a Secret of an earlier ServiceAccount of
// the same name is about to be collected.
func unusable(in Input) bool {
	return in.Secret.Fixed || in.Secret.Owner == "" || in.Secret.Owner != in.Account.UID
}

// taken: the name belongs to a Secret of somebody else, which is left alone.
func taken(in Input) bool { return in.Shared || in.Secret.Foreign && unusable(in) }

// refreshReason says why a new token is needed, or when it will be.
func refreshReason(in Input) (reason string, at time.Time) {
	secret := in.Secret
	at = secret.Refresh
	switch {
	case !secret.Hashed && !secret.Ends:
		return reasonNew, time.Time{}
	case secret.Expires.IsZero() || at.IsZero() || !secret.Signed || !secret.Intact:
		return reasonTampered, time.Time{}
	case secret.Foreign:
		// A copy, from a backup for example: its token died with the Secret that it was bound to.
		return reasonTampered, time.Time{}
	case secret.HostsHash() != in.HostsHash:
		return reasonHosts, time.Time{}
	case keyGone(in.Keys, secret.KeyID()):
		return reasonKey, time.Time{}
	case !in.Now.Before(at):
		return reasonExpiring, time.Time{}
	case (!in.Now.Before(secret.Expires) || at.After(secret.Expires)) && at.Sub(in.Now) > minRefresh:
		// Edited by hand, or noted by a clock that was ahead of the API server's and was set right since. While
		// it is ahead a token seems to have expired at once, too, but its refresh is near.
		return reasonTampered, time.Time{}
	}
	return "", at
}

// valid tells whether the Secret of in holds a token that is good now, and its account refers to it.
func valid(in Input) bool {
	secret := in.Secret
	if secret == nil || secret.Deleting || secret.Foreign || in.Shared || unusable(in) || !in.Account.Refers {
		return false
	}
	return in.Now.Before(secret.Expires) && secret.Hashed && secret.Intact
}

func referencedOrphans(in Input) []string {
	var names []string
	for _, orphan := range in.Orphans {
		if in.Account.mayRefer(orphan.Name) {
			names = append(names, orphan.Name)
		}
	}
	return names
}

// wantedReferences is the list after the plan: foreign entries in their order, the managed name at the end when it is
// not there.
func wantedReferences(account *Account, inject bool, ejected []string) []string {
	var wanted []string
	for _, name := range account.References {
		if !slices.Contains(ejected, name) {
			wanted = append(wanted, name)
		}
	}
	if inject && !account.Refers {
		wanted = append(wanted, SecretName(account.Name))
	}
	return wanted
}

// Limits on writing a reference that somebody keeps stripping.
const (
	injectionsPerMinute = 5
	injectionWindow     = time.Minute
)

// nextInjection tells from the earlier injections when another one is allowed: at once for the first
// few of a minute, afterwards one minute after the last.
func nextInjection(earlier []time.Time, now time.Time) (at time.Time, drifting bool) {
	recent := recentInjections(earlier, now)
	if len(recent) < injectionsPerMinute {
		return now, false
	}
	return recent[len(recent)-1].Add(injectionWindow), true
}

// recentInjections keeps what still counts. While a writer strips on and on, the whole burst counts as
// long as its last entry does, so that the pace stays at one a minute.
func recentInjections(earlier []time.Time, now time.Time) []time.Time {
	if len(earlier) == 0 || now.Sub(earlier[len(earlier)-1]) >= 2*injectionWindow {
		return nil
	}
	if len(earlier) >= injectionsPerMinute {
		return earlier[len(earlier)-injectionsPerMinute:]
	}
	for len(earlier) > 0 && now.Sub(earlier[0]) >= injectionWindow {
		earlier = earlier[1:]
	}
	return earlier
}

package pullsecret

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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
	Account *corev1.ServiceAccount
	// Secret is the cached Secret of the managed name, nil if none with the label exists.
	Secret *corev1.Secret
	// Orphans are labelled Secrets of this ServiceAccount under other names.
	Orphans []*corev1.Secret
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
	Discard []*corev1.Secret
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
	foreign := in.Secret != nil && writtenByOthers(in.Secret)
	if in.Secret != nil && !foreign {
		plan.Discard = append(plan.Discard, in.Secret)
	}
	if references(in.Account, name) && !foreign {
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
	case in.Secret.DeletionTimestamp != nil:
		// Somebody's finalizer holds it. Its token is void, and the name is taken until it is gone.
		return plan
	case unusable(in.Secret, in.Account) && writtenByOthers(in.Secret):
		// The name is taken; the attempt to create tells of it.
		if full {
			plan.Create, plan.Refresh = true, reasonNew
		}
		return plan
	case unusable(in.Secret, in.Account):
		plan.Delete = true
		return plan
	default:
		plan.Refresh, plan.RefreshAt = refreshReason(in)
	}
	if full {
		plan.Inject = !references(in.Account, SecretName(in.Account.Name))
		plan.Discard = slices.Clone(in.Orphans)
		plan.Ejected = referencedOrphans(in)
	}
	return plan
}

// unusable: type and immutability of a Secret cannot be changed, and a Secret of an earlier ServiceAccount of
// the same name is about to be collected.
func unusable(secret *corev1.Secret, account *corev1.ServiceAccount) bool {
	if secret.Type != corev1.SecretTypeDockerConfigJson || (secret.Immutable != nil && *secret.Immutable) {
		return true
	}
	owner, found := ownerOf(secret)
	return !found || owner.UID != account.UID
}

// ownerOf is the first ServiceAccount that owns a Secret.
func ownerOf(secret *corev1.Secret) (metav1.OwnerReference, bool) {
	for _, owner := range secret.OwnerReferences {
		if owner.Kind == accountKind && owner.APIVersion == "v1" {
			return owner, true
		}
	}
	return metav1.OwnerReference{}, false
}

// refreshReason says why a new token is needed, or when it will be.
func refreshReason(in Input) (reason string, at time.Time) {
	notes := in.Secret.Annotations
	expires, err := time.Parse(time.RFC3339, notes[expiresAnnotation])
	at, refreshErr := time.Parse(time.RFC3339, notes[refreshAnnotation])
	id, signed := notes[keyIDAnnotation]
	switch {
	case notes[dataHashAnnotation] == "" && notes[expiresAnnotation] == "":
		return reasonNew, time.Time{}
	case err != nil || refreshErr != nil || !signed || cachedHash(in.Secret) != notes[dataHashAnnotation]:
		return reasonTampered, time.Time{}
	case writtenByOthers(in.Secret):
		// A copy, from a backup for example: its token died with the Secret that it was bound to.
		return reasonTampered, time.Time{}
	case notes[hostsHashAnnotation] != in.HostsHash:
		return reasonHosts, time.Time{}
	case keyGone(in.Keys, id):
		return reasonKey, time.Time{}
	case !in.Now.Before(at):
		return reasonExpiring, time.Time{}
	case (!in.Now.Before(expires) || at.After(expires)) && at.Sub(in.Now) > minRefresh:
		// Edited by hand, or noted by a clock that was ahead of the API server's and was set right since. While
		// it is ahead a token seems to have expired at once, too, but its refresh is near.
		return reasonTampered, time.Time{}
	}
	return "", at
}

// valid tells whether the Secret of in holds a token that is good now, and its account refers to it.
func valid(in Input) bool {
	if in.Secret == nil || in.Secret.DeletionTimestamp != nil || writtenByOthers(in.Secret) || unusable(in.Secret, in.Account) || !references(in.Account, in.Secret.Name) {
		return false
	}
	notes := in.Secret.Annotations
	expires, err := time.Parse(time.RFC3339, notes[expiresAnnotation])
	return err == nil && in.Now.Before(expires) && notes[dataHashAnnotation] != "" && cachedHash(in.Secret) == notes[dataHashAnnotation]
}

// cachedHash works on cached Secrets and on such that were read live.
func cachedHash(secret *corev1.Secret) string {
	if data, ok := secret.Data[corev1.DockerConfigJsonKey]; ok {
		return sha256Hex(data)
	}
	return string(secret.Data[cachedHashKey])
}

func references(account *corev1.ServiceAccount, name string) bool {
	return slices.ContainsFunc(account.ImagePullSecrets, func(r corev1.LocalObjectReference) bool { return r.Name == name })
}

func referencedOrphans(in Input) []string {
	var names []string
	for _, orphan := range in.Orphans {
		if references(in.Account, orphan.Name) {
			names = append(names, orphan.Name)
		}
	}
	return names
}

// wantedReferences is the list after the plan: foreign entries in their order, the managed name once.
func wantedReferences(account *corev1.ServiceAccount, inject bool, ejected []string) []corev1.LocalObjectReference {
	var wanted []corev1.LocalObjectReference
	for _, reference := range account.ImagePullSecrets {
		if !slices.Contains(ejected, reference.Name) {
			wanted = append(wanted, reference)
		}
	}
	if inject {
		wanted = append(wanted, corev1.LocalObjectReference{Name: SecretName(account.Name)})
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

package pullsecret

import (
	"errors"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// paced is how long a Secret is to be left as it is. Every change and every deletion by others would cost two or
// three requests of the controller: one namespace must not use up what all of them share. Deletions have a pace of
// their own, because a ServiceAccount that is made anew needs one of each.
func (c *Controller) paced(in Input, plan Plan) time.Duration {
	if !plan.Delete && !plan.Create && plan.Refresh == "" {
		return 0
	}
	writes := c.memory.mended
	if plan.Delete {
		writes = c.memory.discarded
	}
	key := keyOf(in.Account)
	at, drifting := c.memory.next(writes, key, in.Now)
	if !drifting || !at.After(in.Now) {
		return 0
	}
	if !c.memory.conflicting(key) && c.memory.drift(key, in.Now) {
		c.event(corev1.EventTypeWarning, "DriftConflict", "somebody keeps changing or deleting Secret %s/%s; it is written once a minute",
			key.Namespace, SecretName(key.Name))
	}
	return at.Sub(in.Now)
}

func (c *Controller) driftEvent(key types.NamespacedName, account *Account) {
	if c.memory.drift(key, c.Clock.Now()) {
		c.event(corev1.EventTypeWarning, "DriftConflict",
			"somebody keeps removing %s from imagePullSecrets of ServiceAccount %s/%s; it is added once a minute",
			SecretName(account.Name), key.Namespace, key.Name)
	}
}

// noRoom says of a refused token that what others wrote into the Secret leaves no room for it. Such a Secret is made
// anew; a policy that refuses the change names no such field.
func noRoom(err error) bool {
	if apierrors.IsRequestEntityTooLargeError(err) {
		return true
	}
	var status apierrors.APIStatus
	if !apierrors.IsInvalid(err) || !errors.As(err, &status) || status.Status().Details == nil {
		return false
	}
	return slices.ContainsFunc(status.Status().Details.Causes, func(cause metav1.StatusCause) bool {
		return cause.Type == "FieldValueTooLong" && (strings.HasPrefix(cause.Field, "data") || cause.Field == "metadata.annotations")
	})
}

//go:build component

package pullsecret

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Behaviours 60, 63 and 67 against tenants who are careless or worse, on a real API.
func TestOneTenantDoesNotHoldUpOthers(t *testing.T) {
	l := startLive(t, "greedy-system")
	ctx := t.Context()
	secretOf := func(ctx context.Context, namespace, account string) *corev1.Secret {
		secret, err := l.client.CoreV1().Secrets(namespace).Get(ctx, SecretName(account), metav1.GetOptions{})
		if err != nil {
			return nil
		}
		return secret
	}

	t.Run("a quota that is used up", func(t *testing.T) {
		create(t, l.client, "crowded")
		none := corev1.ResourceList{"secrets": resource.MustParse("0")}
		quotas := l.client.CoreV1().ResourceQuotas("crowded")
		quota, err := quotas.Create(ctx, &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "few"}, Spec: corev1.ResourceQuotaSpec{Hard: none}}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		quota.Status = corev1.ResourceQuotaStatus{Hard: none, Used: none}
		if _, err := quotas.UpdateStatus(ctx, quota, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the quota in force", func(ctx context.Context) bool {
			_, err := l.client.CoreV1().Secrets("crowded").Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "any"}},
				metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
			return err != nil && strings.Contains(err.Error(), "exceeded quota")
		})
		const many = 50
		began := time.Now()
		for i := range many {
			l.account(t, "crowded", fmt.Sprintf("app-%d", i))
		}
		posts := func() int {
			return l.count(func(request string) bool { return request == "POST /api/v1/namespaces/crowded/secrets" })
		}
		eventually(t, "the refusals", func(context.Context) bool { return posts() >= refusalsInARow })
		l.account(t, "modest", "app")
		eventually(t, "the credential of somebody else", func(ctx context.Context) bool { return l.referenced(ctx, "modest", "app") })
		// Each worker may have asked already when a pause begins.
		asked, most := posts(), (refusalsInARow+4)*(1+int(time.Since(began)/refusalPause))
		if asked > most {
			t.Errorf("%d requests for a full namespace, want at most %d", asked, most)
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		if !slices.Contains(l.events, "PullSecretRefused") {
			t.Errorf("events %q", l.events)
		}
	})

	t.Run("names at the limit", func(t *testing.T) {
		long := strings.Repeat("a", 229) + "." + strings.Repeat("b", 23)
		l.account(t, "modest", long)
		eventually(t, "the reference of the longest name", func(ctx context.Context) bool { return l.referenced(ctx, "modest", long) })
	})

	t.Run("a ServiceAccount with hundreds of references", func(t *testing.T) {
		account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "many"}}
		for i := range 500 {
			account.ImagePullSecrets = append(account.ImagePullSecrets, corev1.LocalObjectReference{Name: fmt.Sprintf("theirs-%d", i)})
		}
		if _, err := l.client.CoreV1().ServiceAccounts("modest").Create(ctx, account, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the reference", func(ctx context.Context) bool { return l.referenced(ctx, "modest", "many") })
		live, err := l.client.CoreV1().ServiceAccounts("modest").Get(ctx, "many", metav1.GetOptions{})
		if err != nil || len(live.ImagePullSecrets) != 501 || !slices.Equal(live.ImagePullSecrets[:500], account.ImagePullSecrets) {
			t.Errorf("%d references, error %v", len(live.ImagePullSecrets), err)
		}
	})

	t.Run("a ServiceAccount made anew", func(t *testing.T) {
		before := secretOf(ctx, "modest", "app")
		accounts := l.client.CoreV1().ServiceAccounts("modest")
		if err := accounts.Delete(ctx, "app", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		after := l.account(t, "modest", "app")
		eventually(t, "a Secret of the new ServiceAccount", func(ctx context.Context) bool {
			secret := secretOf(ctx, "modest", "app")
			return secret != nil && secret.UID != before.UID && secret.OwnerReferences[0].UID == after.UID && l.referenced(ctx, "modest", "app")
		})
	})

	t.Run("out of scope and back", func(t *testing.T) {
		for _, ignored := range []bool{true, false} {
			patch := fmt.Sprintf(`{"metadata":{"labels":{%q:"%t"}}}`, IgnoreLabel, ignored)
			if _, err := l.client.CoreV1().Namespaces().Patch(ctx, "modest", types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the scope to be followed", func(ctx context.Context) bool {
				return (secretOf(ctx, "modest", "app") == nil) == ignored && l.referenced(ctx, "modest", "app") != ignored
			})
		}
	})
}

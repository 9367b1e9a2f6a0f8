//go:build component

package pullsecret

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

var hostile = flag.Duration("hostile", 8*time.Second, "how long a writer keeps resetting ServiceAccounts; a minute shows the pace of one write a minute, too")

// turn is one write of another writer: the entry and the version at which it came.
type turn struct {
	version int
	entry   string
}

// Behaviour 65.
func TestReferencesOfManyWritersSurvive(t *testing.T) {
	const writers = 100
	l := startLive(t, "contention-system")
	l.account(t, "contended", "app")
	eventually(t, "the first reference", func(ctx context.Context) bool { return l.referenced(ctx, "contended", "app") })

	var mu sync.Mutex
	var turns []turn
	var group sync.WaitGroup
	for i := range writers {
		group.Go(func() {
			entry := fmt.Sprintf("writer-%d", i)
			// Every writer appends its own entry. Some strip the managed one meanwhile, as careless ones do, so
			// that the controller has to write among them; less often than what it bears in a minute.
			version, err := l.append(t.Context(), "contended", "app", entry, i%30 == 0)
			if err != nil {
				t.Errorf("%s: %v", entry, err)
			}
			mu.Lock()
			defer mu.Unlock()
			turns = append(turns, turn{version, entry})
		})
	}
	group.Wait()
	eventually(t, "the reference after the writers", func(ctx context.Context) bool { return l.referenced(ctx, "contended", "app") })
	live, err := l.client.CoreV1().ServiceAccounts("contended").Get(t.Context(), "app", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(turns, func(a, b turn) int { return a.version - b.version })
	var want, got []string
	for _, turn := range turns {
		want = append(want, turn.entry)
	}
	managed := 0
	for _, reference := range live.ImagePullSecrets {
		if reference.Name == SecretName("app") {
			managed++
			continue
		}
		got = append(got, reference.Name)
	}
	if managed != 1 || !slices.Equal(got, want) {
		t.Errorf("the managed name %d times, others\n%q, want\n%q", managed, got, want)
	}
	patches := l.count(func(request string) bool { return request == "PATCH /api/v1/namespaces/contended/serviceaccounts/app" })
	if patches < 2 {
		t.Errorf("the controller wrote %d times; it was meant to write among the others", patches)
	}
}

// append writes the whole list against the version that was read, until it comes through.
func (l *live) append(ctx context.Context, namespace, name, entry string, strip bool) (version int, err error) {
	accounts := l.client.CoreV1().ServiceAccounts(namespace)
	for {
		account, err := accounts.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return 0, err
		}
		if strip {
			account.ImagePullSecrets = slices.DeleteFunc(account.ImagePullSecrets, func(r corev1.LocalObjectReference) bool { return r.Name == SecretName(name) })
		}
		account.ImagePullSecrets = append(account.ImagePullSecrets, corev1.LocalObjectReference{Name: entry})
		after, err := accounts.Update(ctx, account, metav1.UpdateOptions{})
		if apierrors.IsConflict(err) {
			continue
		}
		if err != nil {
			return 0, err
		}
		return strconv.Atoi(after.ResourceVersion)
	}
}

// Behaviour 66. A controller that resets ServiceAccounts every second; -hostile=1m shows a whole minute.
func TestAHostileControllerCausesOneSecretAndFewWrites(t *testing.T) {
	l := startLive(t, "hostile-system")
	var names []string
	for i := range 5 {
		names = append(names, fmt.Sprintf("app-%d", i))
		l.account(t, "hostile", names[i])
	}
	eventually(t, "all references", func(ctx context.Context) bool {
		return !slices.ContainsFunc(names, func(name string) bool { return !l.referenced(ctx, "hostile", name) })
	})
	began := l.secretVersions(t, "hostile")
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for end := time.Now().Add(*hostile); time.Now().Before(end); <-tick.C {
		for _, name := range names {
			reset := []byte(`{"imagePullSecrets":[{"name":"hostile"}],"secrets":[]}`)
			if _, err := l.client.CoreV1().ServiceAccounts("hostile").Patch(t.Context(), name, types.MergePatchType, reset, metav1.PatchOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if ended := l.secretVersions(t, "hostile"); strings.Count(ended, "\n") != len(names)-1 || ended != began {
		t.Errorf("Secrets and their versions %q, want the same as before: %q", ended, began)
	}
	most := injectionsPerMinute + 1 + int(*hostile/injectionWindow)
	for _, name := range names {
		path := "/api/v1/namespaces/hostile/serviceaccounts/" + name
		patches := l.count(func(request string) bool { return request == "PATCH "+path })
		tokens := l.count(func(request string) bool { return request == "POST "+path+"/token" })
		if patches > most || patches < 2 || tokens != 1 {
			t.Errorf("%s: %d writes of its references and %d tokens, want at most %d and 1", name, patches, tokens, most)
		}
	}
	l.mu.Lock()
	drifts := len(slices.DeleteFunc(slices.Clone(l.events), func(reason string) bool { return reason != "DriftConflict" }))
	l.mu.Unlock()
	if drifts != len(names) {
		t.Errorf("%d events DriftConflict, want one for each of %d ServiceAccounts", drifts, len(names))
	}
}

// secretVersions lists the Secrets of a namespace with UID and version.
func (l *live) secretVersions(t *testing.T, namespace string) string {
	t.Helper()
	list, err := l.client.CoreV1().Secrets(namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for i := range list.Items {
		out = append(out, list.Items[i].Name+" "+string(list.Items[i].UID)+" "+list.Items[i].ResourceVersion)
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// idleWindow is how long the healthy system is watched; IDLE_WINDOW=10m is what the specification asks for.
func idleWindow(t *testing.T) time.Duration {
	window, err := time.ParseDuration(environment("IDLE_WINDOW", "75s"))
	if err != nil || window < 75*time.Second {
		t.Fatalf("IDLE_WINDOW: a duration of at least 75s, so that every lease is renewed (%v)", err)
	}
	return window
}

// auditEvent is what is read of a line of kube-apiserver's audit log.
type auditEvent struct {
	Verb       string    `json:"verb"`
	RequestURI string    `json:"requestURI"`
	Time       time.Time `json:"requestReceivedTimestamp"`
	User       struct {
		Username string `json:"username"`
	} `json:"user"`
	Object struct {
		Group       string `json:"apiGroup"`
		Resource    string `json:"resource"`
		Subresource string `json:"subresource"`
		Namespace   string `json:"namespace"`
		Name        string `json:"name"`
	} `json:"objectRef"`
	Status struct {
		Code int `json:"code"`
	} `json:"responseStatus"`
	Annotations map[string]string `json:"annotations"`
}

// account is the ServiceAccount that asked.
func (e auditEvent) account() string {
	return strings.TrimPrefix(e.User.Username, "system:serviceaccount:"+systemNamespace+":")
}

func (e auditEvent) resource() string {
	if e.Object.Subresource != "" {
		return e.Object.Resource + "/" + e.Object.Subresource
	}
	return e.Object.Resource
}

func (e auditEvent) String() string {
	return fmt.Sprintf("%s %s %s (%d)", e.account(), e.Verb, e.RequestURI, e.Status.Code)
}

// stores says whether the request was to change something; reviews are created, too, but nothing keeps them.
func (e auditEvent) stores() bool {
	if !slices.Contains([]string{"create", "update", "patch", "delete", "deletecollection"}, e.Verb) {
		return false
	}
	return e.Object.Group != "authentication.k8s.io" && e.Object.Group != "authorization.k8s.io"
}

// auditLog reads what the product's accounts asked of kube-apiserver since a moment, also from log files that
// were put aside. kube-apiserver writes a line two seconds after its request at the latest.
func auditLog(t *testing.T, since time.Time) []auditEvent {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(shared.root, "_output", "devcluster", "logs", "audit*.log"))
	if err != nil || len(files) == 0 {
		t.Fatalf("the development cluster has no audit log: %v", err)
	}
	sort.Strings(files)
	var events []auditEvent
	for _, file := range files {
		events = append(events, auditLines(t, file, since)...)
	}
	return events
}

func auditLines(t *testing.T, name string, since time.Time) []auditEvent {
	t.Helper()
	file, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // put aside just now
	}
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var events []auditEvent
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		var event auditEvent
		if json.Unmarshal(lines.Bytes(), &event) == nil && event.Time.After(since) {
			events = append(events, event)
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return events
}

// writesSince are the requests of one account that store something other than a Lease.
func writesSince(t *testing.T, account string, since time.Time) (writes, leases []auditEvent) {
	t.Helper()
	for _, event := range auditLog(t, since) {
		switch {
		case event.account() != account || !event.stores():
		case event.Object.Resource == "leases":
			leases = append(leases, event)
		default:
			writes = append(writes, event)
		}
	}
	return writes, leases
}

// activity is what one account asked of kube-apiserver.
type activity struct{ writes, leases, reviews, reads, watches int }

func (a activity) String() string {
	return fmt.Sprintf("%d writes, %d renewals of leases, %d reviews, %d reads, %d watches", a.writes, a.leases, a.reviews, a.reads, a.watches)
}

// activities counts the requests of each account.
func activities(events []auditEvent) map[string]activity {
	all := map[string]activity{}
	for _, event := range events {
		a := all[event.account()]
		switch {
		case event.stores() && event.Object.Resource == "leases":
			a.leases++
		case event.stores():
			a.writes++
		case event.Verb == "watch":
			a.watches++
		case event.Verb == "get" || event.Verb == "list":
			a.reads++
		default:
			a.reviews++
		}
		all[event.account()] = a
	}
	return all
}

// TestIdleOperatorWritesOnlyItsLease counts in the audit log of kube-apiserver.
//
// Behaviour operator 23: on a healthy system nothing but the lease is written.
func TestIdleOperatorWritesOnlyItsLease(t *testing.T) {
	// The numbers of pull secrets are written up to 30 seconds after they changed.
	const operator, quiet = "cluster-image-registry-operator", time.Minute
	window := idleWindow(t)
	shared.waitHealthy(t)
	eventually(t, "the operator has settled after the tests before", func(context.Context) error {
		if writes, _ := writesSince(t, operator, time.Now().Add(-quiet)); len(writes) > 0 {
			return fmt.Errorf("%d writes within %s, the last is %s", len(writes), quiet, writes[len(writes)-1])
		}
		return nil
	})
	// What was just seen counts: that nothing was written for a minute.
	began := time.Now().Add(-quiet)
	before, err := shared.image.ImageregistryV1().Configs().Get(t.Context(), "cluster", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-t.Context().Done():
		t.Fatal(t.Context().Err())
	case <-time.After(window - quiet): // the time itself is what is measured
	}
	writes, leases := writesSince(t, operator, began)
	for _, write := range writes {
		t.Errorf("written while nothing happened: %s", write)
	}
	if len(leases) == 0 {
		t.Error("not even the lease was renewed: the operator does not run, or the log is not written")
	}
	after, err := shared.image.ImageregistryV1().Configs().Get(t.Context(), "cluster", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if before.ResourceVersion != after.ResourceVersion {
		t.Errorf("Config cluster changed from version %s to %s while nothing happened", before.ResourceVersion, after.ResourceVersion)
	}
	for account, did := range activities(auditLog(t, began)) {
		t.Logf("%s in %s: %s", account, window, did)
	}
}

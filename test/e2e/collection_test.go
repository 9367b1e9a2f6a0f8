//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// collection is what the test reads of a report.
type collection struct {
	State, Message string
	Candidates     []struct{ Digest string }
	DeletedBlobs   int
	FreedBytes     int64
	Errors         []string
}

func (c collection) has(digest string) bool {
	for _, candidate := range c.Candidates {
		if candidate.Digest == digest {
			return true
		}
	}
	return false
}

// collect runs the documented commands: a request, and questions until it is done.
func collect(t *testing.T, token, body string) collection {
	t.Helper()
	report := filepath.Join(t.TempDir(), "report.json")
	shared.shell(t, fmt.Sprintf(`call() { curl -sSf --cacert $REGISTRY_CA -H @- "$@" <<<"Authorization: Bearer %s"; }
		location=$(call -X POST -d '%s' -o /dev/null -w '%%header{location}' https://$REGISTRY_HOST/admin/gc)
		for i in $(seq 360); do
			call https://$REGISTRY_HOST$location >%s
			if grep -q '"state":"Running"' %s; then sleep 1; else exit 0; fi
		done
		exit 1`, token, body, report, report))
	raw, err := os.ReadFile(report)
	if err != nil {
		t.Fatal(err)
	}
	var c collection
	if err := json.Unmarshal(raw, &c); err != nil {
		t.Fatalf("%v: %s", err, raw)
	}
	if c.State != "Succeeded" || len(c.Errors) > 0 {
		t.Fatalf("the collection ended as %s", raw)
	}
	return c
}

// Behaviour registry 86. What a deleted image leaves in the storage is freed while the registry
// serves, and what another image shares with it stays. The storage is made a day old, because
// nothing young is ever collected. The test runs beside others, whose images must not suffer.
func TestACollectionFreesWhatDeletedImagesLeave(t *testing.T) {
	t.Parallel() // a collection looks again two minutes after it has removed links
	namespace := shared.namespace(t, "collect")
	auth := shared.pusher(t, namespace)
	kept := pushRandomImage(t, namespace+"/app:kept", auth)
	gone := randomImage(t)
	if err := remote.Write(shared.reference(t, namespace+"/app:gone"), gone, shared.remoteOptions(t, auth)...); err != nil {
		t.Fatal(err)
	}
	layers, err := gone.Layers()
	if err != nil {
		t.Fatal(err)
	}
	garbage := []string{digestOf(t, gone).String()}
	for _, layer := range layers {
		garbage = append(garbage, digestOf(t, layer).String())
	}
	shared.shell(t, fmt.Sprintf("kubectl -n %s delete imagestreamtag app:gone && kubectl delete image %s", namespace, garbage[0]))
	volumes := filepath.Join(shared.root, "_output", "devcluster", "volumes")
	shared.shell(t, fmt.Sprintf("find %s -path '*/docker/registry/*' -exec touch -h -d '1 day ago' {} +", volumes))

	collector := shared.token(t, namespace, "collector")
	shared.shell(t, fmt.Sprintf("kubectl create clusterrolebinding %s --clusterrole=system:image-pruner --serviceaccount=%s:collector", namespace, namespace))
	t.Cleanup(func() { shared.shell(t, "kubectl delete clusterrolebinding "+namespace) })
	if status, body := request(t, http.MethodPost, "/admin/gc", shared.token(t, namespace, "builder"), nil, nil); status != http.StatusForbidden || !strings.Contains(body, "DENIED") {
		t.Errorf("somebody who may only push asks for a collection: %d %s", status, body)
	}

	plan := collect(t, collector, `{"minAge":"10m"}`)
	for _, digest := range garbage {
		if !plan.has(digest) {
			t.Errorf("the dry run does not name %s", digest)
		}
	}
	if plan.has(kept.String()) || plan.DeletedBlobs != 0 {
		t.Errorf("the dry run names %s, or deleted something: %+v", kept, plan)
	}
	done := collect(t, collector, `{"minAge":"10m","dryRun":false}`)
	if done.DeletedBlobs < len(garbage) || done.FreedBytes < 3*16<<10 {
		t.Errorf("deleted %d blobs, freed %d bytes", done.DeletedBlobs, done.FreedBytes)
	}
	for _, digest := range garbage {
		hex := strings.TrimPrefix(digest, "sha256:")
		if found := shared.shell(t, fmt.Sprintf("find %s -path '*/blobs/sha256/%s/%s/data'", volumes, hex[:2], hex)); found != "" {
			t.Errorf("the storage still has %s", found)
		}
	}
	if got := pullCompletely(t, namespace+"/app:kept", auth); got != kept {
		t.Errorf("the other image is %s now, want %s", got, kept)
	}
	if err := remote.Write(shared.reference(t, namespace+"/app:again"), gone, shared.remoteOptions(t, auth)...); err != nil {
		t.Errorf("the same image cannot be pushed again: %v", err)
	}
	if got := pullCompletely(t, namespace+"/app:again", auth); got.String() != garbage[0] {
		t.Errorf("pushed again it is %s, want %s", got, garbage[0])
	}
}

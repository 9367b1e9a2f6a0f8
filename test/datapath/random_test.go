//go:build component

package datapath

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/ptr"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/registry/gc"
	"image.alauda.io/registry/pkg/registry/store"
	"image.alauda.io/registry/test/imageapi"
)

var (
	randomRounds = flag.Int("registry.rounds", 5, "rounds of the random test of two replicas, without -registry.for")
	randomFor    = flag.Duration("registry.for", 0, "begin rounds of the random test of two replicas for so long")
	randomSeed   = flag.Uint64("registry.seed", 0, "seed of the random test of two replicas; 0 takes one from the clock")
	randomRelink = flag.Bool("registry.relink", true, "in the random test of two replicas, push also by digest alone what the repository had before")
)

const (
	// roundTime is how long the clients of a round begin new things.
	roundTime = 5 * time.Second
	// aged is how much older everything in the storage is after a round: more than the
	// grace of repositories without an ImageStream.
	aged = 100 * time.Hour
)

// Behaviour 86: two replicas on one storage, killed and started again at any moment, while
// clients push, mount, resume, tag and delete, and collections run one after the other. After
// each round everything that was accepted and not deleted can be pulled from both replicas,
// and in the end nothing is stored but what clients take for granted. Behaviours pruner 49 and 50.
func TestRandomWorkloadOnTwoReplicas(t *testing.T) {
	w := newWorld(t)
	random := rand.New(rand.NewPCG(w.seed, 1))
	began := time.Now()
	t.Logf("seed %d", w.seed)
	defer func() { t.Logf("%s: %s", time.Since(began).Round(time.Second), w.tally) }()
	rounds := 0
	for ; *randomFor == 0 && rounds < *randomRounds || time.Since(began) < *randomFor; rounds++ {
		w.round(random)
		if t.Failed() {
			t.Fatalf("in round %d; repeat with -registry.seed=%d and, because time has a part in it, more -registry.rounds", rounds, w.seed)
		}
	}
	w.deleteEverything()
	if n := w.tally; n.kills.Load() == 0 || n.collections.Load() == 0 || n.pulled.Load() == 0 || rounds > 1 && (n.blobs.Load() == 0 || n.again.Load() == 0 || n.mounted.Load() == 0) {
		t.Errorf("after %d rounds something was not tried", rounds)
	}
}

func newWorld(t *testing.T) *world {
	e := &environment{Server: imageapi.Start(t, shared.Get(t), "--config="+apiConfig(t)), storage: t.TempDir()}
	imageapi.Apply(t, e.CP.Config, "image-registry", "rbac.yaml")
	seed := *randomSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	w := &world{
		environment: e, t: t, seed: seed, replicas: e.replicas(t, 2), tally: &tally{},
		known: map[string]*artifact{}, busy: map[string]int{}, retired: map[string]bool{},
	}
	for i := range uint64(commonLayers) {
		w.common = append(w.common, content(seed, i, 1<<(10+i)))
	}
	namespaces := []string{e.namespace(t), e.namespace(t)}
	token := w.administrator(namespaces[0])
	for i := range 6 {
		w.workers = append(w.workers, &worker{
			caller: w.caller(token, rand.New(rand.NewPCG(seed, uint64(i)+2)), w.replicas...), world: w, repository: fmt.Sprintf("%s/app%d", namespaces[i%2], i),
			history: map[string][]*artifact{}, loose: map[string]*artifact{}, referrers: map[string]map[string]*artifact{}, linked: map[string]bool{}, gone: map[string]bool{},
		})
	}
	return w
}

func (w *world) caller(token string, random *rand.Rand, replicas ...*replica) *caller {
	return &caller{replicas: replicas, token: token, random: random, tally: w.tally}
}

// administrator may do everything with images, which is what users, pruner and collector
// may do together.
func (w *world) administrator(namespace string) string {
	w.grant(w.t, namespace, "random")
	name := metav1.ObjectMeta{Name: namespace + "-random"}
	_, err := w.Kube.RbacV1().ClusterRoles().Create(w.t.Context(), &rbacv1.ClusterRole{
		ObjectMeta: name, Rules: []rbacv1.PolicyRule{{APIGroups: []string{imagev1.GroupName}, Resources: []string{"*"}, Verbs: []string{"*"}}},
	}, metav1.CreateOptions{})
	must(w.t, err)
	w.allowEverywhere(w.t, namespace, "random", name.Name)
	return w.token(w.t, namespace, "random", nil).(*authn.Basic).Password
}

// round lets everybody work at the same time, and pulls everything when they have ended.
func (w *world) round(random *rand.Rand) {
	ctx := w.t.Context()
	w.startAll()
	working, stop := context.WithTimeout(ctx, roundTime)
	defer stop()
	var group, others sync.WaitGroup
	disturb := func(what func(ctx context.Context, random *rand.Rand)) {
		own := rand.New(rand.NewPCG(random.Uint64(), 0))
		others.Go(func() { what(working, own) })
	}
	disturb(w.killing)
	disturb(w.collecting)
	disturb(w.pruning)
	for _, one := range w.workers {
		group.Go(func() {
			for working.Err() == nil && !w.t.Failed() {
				one.step(ctx)
			}
		})
	}
	group.Wait()
	others.Wait()
	w.checkAll(ctx)
	w.pruneSome(ctx, random)
	w.settle()
}

// startAll starts both replicas.
func (w *world) startAll() {
	w.t.Helper()
	for _, r := range w.replicas {
		must(w.t, r.start(w.t.Context()))
	}
}

// checkAll pulls all that must be there from each replica.
func (w *world) checkAll(ctx context.Context) {
	var group sync.WaitGroup
	for _, one := range w.workers {
		for _, r := range w.replicas {
			group.Go(func() { one.check(ctx, w.caller(one.token, rand.New(rand.NewPCG(0, 0)), r)) })
		}
	}
	group.Wait()
}

// settle ends all processes and lets a long time pass, for everything in the storage and
// for the Lease. New processes know nothing of what the old ones have marked.
func (w *world) settle() {
	w.t.Helper()
	for _, r := range w.replicas {
		must(w.t, r.kill())
	}
	at := time.Now().Add(-aged)
	must(w.t, filepath.WalkDir(w.storage, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chtimes(path, at, at)
	}))
	must(w.t, w.expireLease(w.t.Context()))
}

// expireLease lets the minute pass for which a collector is respected.
func (w *world) expireLease(ctx context.Context) error {
	leases := w.Kube.CoordinationV1().Leases(imagev1.RegistryNamespace)
	lease, err := leases.Get(ctx, imagev1.GCLeaseName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err == nil {
		lease.Spec.RenewTime = ptr.To(metav1.NewMicroTime(time.Now().Add(-time.Hour)))
		_, err = leases.Update(ctx, lease, metav1.UpdateOptions{})
	}
	return err
}

// killing kills one of the replicas, starts it again, and so on.
func (w *world) killing(ctx context.Context, random *rand.Rand) {
	for w.pause(ctx, random, 3*time.Second) {
		r := w.replicas[random.IntN(len(w.replicas))]
		if err := r.kill(); err != nil {
			w.t.Errorf("kill %s: %v", r.host, err)
		}
		w.tally.kills.Add(1)
		w.pause(ctx, random, time.Second)
		if err := r.start(w.t.Context()); err != nil {
			w.t.Error(err)
			return
		}
	}
}

func (w *world) pruning(ctx context.Context, random *rand.Rand) {
	for w.pause(ctx, random, 500*time.Millisecond) {
		w.retire(ctx, random)
	}
}

// pause lets up to a time pass and tells whether the round goes on.
func (w *world) pause(ctx context.Context, random *rand.Rand, most time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(time.Duration(random.Int64N(int64(most)))):
		return true
	}
}

// collecting runs collections for as long as the round lasts.
func (w *world) collecting(ctx context.Context, random *rand.Rand) {
	c := w.caller(w.workers[0].token, random, w.replicas...)
	for ctx.Err() == nil {
		r := w.replicas[random.IntN(len(w.replicas))]
		life := r.lives()
		got, err := c.once(ctx, r, message{method: http.MethodPost, path: "/admin/gc", body: []byte(`{"dryRun":false}`)})
		switch {
		case err != nil:
			w.pause(ctx, random, 200*time.Millisecond)
		case got.status == http.StatusAccepted:
			w.follow(ctx, c, got.header.Get("Location"), func() bool { return r.lives() > life })
		case got.status == http.StatusConflict:
			// Nobody else starts one, so this one began with a request whose answer the death
			// of the replica cut off.
			if err := w.expireLease(ctx); err != nil && ctx.Err() == nil && !apierrors.IsConflict(err) {
				w.t.Errorf("lease: %v", err)
			}
		case got.status != http.StatusServiceUnavailable:
			w.t.Errorf("POST /admin/gc: %s", got)
			return
		}
	}
}

// follow waits for the end of a collection, or for that of its process. Also when the
// round is over it is waited for: what was accepted must survive it.
func (w *world) follow(ctx context.Context, c *caller, location string, dead func() bool) {
	ctx = context.WithoutCancel(ctx)
	report := gc.Report{State: gc.StateRunning}
	err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		if dead() {
			return true, w.expireLease(ctx)
		}
		got := c.do(ctx, message{method: http.MethodGet, path: location})
		if got.status != http.StatusOK {
			return false, fmt.Errorf("report of the collection: %s", got)
		}
		if err := json.Unmarshal(got.body, &report); err != nil {
			return false, err
		}
		return report.State != gc.StateRunning, nil
	})
	if err != nil && !apierrors.IsConflict(err) {
		w.t.Errorf("%s: %v; last report %+v", location, err, report)
	}
	w.count(report)
}

func (w *world) count(report gc.Report) {
	// A push that writes to a repository while it is removed keeps its directory: the next
	// collection looks again.
	report.Errors = slices.DeleteFunc(report.Errors, func(text string) bool { return strings.HasSuffix(text, "directory not empty") })
	switch {
	case report.State == gc.StateRunning || report.Message == "interrupted":
		w.tally.interrupted.Add(1)
	case report.State == gc.StateFailed && !strings.Contains(report.Message, "Image list is empty") || len(report.Errors) > 0:
		w.t.Errorf("collection %s failed: %s %v", report.ID, report.Message, report.Errors)
	default:
		w.tally.collections.Add(1)
	}
	w.tally.blobs.Add(report.DeletedBlobs)
	w.tally.links.Add(report.DeletedLinks)
	w.tally.repositories.Add(report.DeletedRepositories)
	w.tally.saved.Add(report.Refused)
}

// deleteEverything deletes all tags and every second stream, prunes all Images, lets time
// pass and collects: then nothing may be left.
func (w *world) deleteEverything() {
	ctx := w.t.Context()
	w.startAll()
	for i, one := range w.workers {
		for tag := range tags {
			one.deleteTag(ctx, fmt.Sprintf("v%d", tag))
		}
		if i%2 == 0 {
			one.deleteStream(ctx)
		}
	}
	images, err := w.Images.ImageV1().Images().List(ctx, metav1.ListOptions{})
	must(w.t, err)
	for i := range images.Items {
		w.prune(ctx, images.Items[i].Name)
	}
	w.settle()
	must(w.t, w.replicas[0].start(ctx))
	c := w.caller(w.workers[0].token, rand.New(rand.NewPCG(0, 0)), w.replicas[0])
	got := c.do(ctx, message{method: http.MethodPost, path: "/admin/gc", body: []byte(`{"dryRun":false,"allowEmptyMetadata":true}`)})
	if got.status != http.StatusAccepted {
		w.t.Fatalf("POST /admin/gc: %s", got)
	}
	w.follow(ctx, c, got.header.Get("Location"), func() bool { return false })
	imageapi.Eventually(w.t, "nothing is left", func(context.Context) error { return w.leftovers() })
}

// leftovers names what should not be stored any more. The note about the last purge of
// uploads stays, the file by which the storage's clock is read, and what is set aside for a full disk.
func (w *world) leftovers() error {
	root := filepath.Join(w.storage, "docker/registry/v2")
	stays := []string{"_gc/purge", "_gc/clock", "_gc/reserve"}
	constant := map[string]bool{}
	for _, d := range store.Constants() {
		constant[d.Encoded()] = true
	}
	var left []error
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // uploads are purged meanwhile
		}
		if err != nil || entry.IsDir() || constant[filepath.Base(filepath.Dir(path))] {
			return err
		}
		if relative, _ := filepath.Rel(root, path); !slices.Contains(stays, relative) {
			left = append(left, errors.New(relative))
		}
		return nil
	})
	return errors.Join(append(left, err)...)
}

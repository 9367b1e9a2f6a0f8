package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"image.alauda.io/registry/pkg/registry/app"
	"image.alauda.io/registry/pkg/registry/gc"

	"github.com/distribution/distribution/v3/registry/storage/driver"
)

var (
	randomRounds = flag.Int("registry.rounds", 4, "rounds of the random test of pushes, deletes, collections and crashes")
	randomSeed   = flag.Uint64("registry.seed", 0, "seed of the random test; 0 takes one from the clock")
)

// mortal is a storage whose process may die: from a certain write on, nothing that the
// process does has an effect. Until then it is a little slow, each time by another bit, so
// that what runs at the same time meets in ever new orders.
type mortal struct {
	driver.StorageDriver
	directory string
	left      atomic.Int64
	dead      atomic.Bool
	// ending is held for reading by what is being written.
	ending sync.RWMutex
	// announced are the paths of all markers that hold up others for as long as they look alive.
	announced sync.Map
}

// lag is how long an operation takes at most.
const lag = 2 * time.Millisecond

var errDead = errors.New("the process is dead")

func (m *mortal) write(do func() error) error {
	m.ending.RLock()
	if !m.dead.Load() && m.left.Add(-1) >= 0 {
		defer m.ending.RUnlock()
		time.Sleep(rand.N(lag))
		return do()
	}
	m.ending.RUnlock()
	return m.die()
}

// die ends the process. Nobody has to wait the minutes in which its last announcements would
// look alive.
func (m *mortal) die() error {
	m.ending.Lock()
	defer m.ending.Unlock()
	if m.dead.Swap(true) {
		return errDead
	}
	past := time.Now().Add(-time.Hour)
	m.announced.Range(func(marker, _ any) bool {
		_ = os.Chtimes(filepath.Join(m.directory, marker.(string)), past, past) // most were withdrawn
		return true
	})
	return errDead
}

func (m *mortal) Stat(ctx context.Context, path string) (driver.FileInfo, error) {
	time.Sleep(rand.N(lag))
	return m.StorageDriver.Stat(ctx, path)
}

func (m *mortal) PutContent(ctx context.Context, path string, content []byte) error {
	return m.write(func() error {
		if strings.Contains(path, "/_gc/unlinking/") || strings.Contains(path, "/_gc/deleting/") {
			m.announced.Store(path, nil)
		}
		return m.StorageDriver.PutContent(ctx, path, content)
	})
}

func (m *mortal) Writer(ctx context.Context, path string, add bool) (writer driver.FileWriter, err error) {
	err = m.write(func() error {
		writer, err = m.StorageDriver.Writer(ctx, path, add)
		return err
	})
	return writer, err
}

func (m *mortal) Move(ctx context.Context, from, to string) error {
	return m.write(func() error { return m.StorageDriver.Move(ctx, from, to) })
}

func (m *mortal) Delete(ctx context.Context, path string) error {
	return m.write(func() error { return m.StorageDriver.Delete(ctx, path) })
}

func (m *mortal) Reader(ctx context.Context, path string, offset int64) (io.ReadCloser, error) {
	if m.dead.Load() {
		return nil, errDead
	}
	return m.StorageDriver.Reader(ctx, path, offset)
}

// worker pushes to and deletes from a repository of its own, so that it knows what must be
// there. Its layers are those of all workers.
type worker struct {
	repo   string
	random *rand.Rand
	serial int
	// must are the manifests that the registry has accepted, by digest; tags what each tag
	// has now. loose were pushed by digest alone.
	must  map[string][]byte
	tags  map[string]string
	loose map[string]bool
	// seen are all manifests that were ever tried, and old those of images that were accepted.
	seen map[string]bool
	old  []image
}

// image is a manifest with all its blobs.
type image struct {
	raw   []byte
	blobs [][]byte
}

const sharedLayers = 6

func layerContent(i int) []byte { return []byte(fmt.Sprintf("shared layer %d", i)) }

// upload makes sure that a blob is in the repository, as clients do: by asking, by
// mounting it from another repository, or by sending it.
func (w *worker) upload(s *site, content []byte) bool {
	d := digestOf(content)
	switch w.random.IntN(3) {
	case 0:
		if s.head("/v2/"+w.repo+"/blobs/"+d).StatusCode == 200 {
			return true
		}
	case 1:
		from := fmt.Sprintf("team/worker%d", w.random.IntN(4))
		if s.do(call{method: "POST", path: "/v2/" + w.repo + "/blobs/uploads/?mount=" + d + "&from=" + from}).StatusCode == 201 {
			return true
		}
	}
	return s.do(call{method: "POST", path: "/v2/" + w.repo + "/blobs/uploads/?digest=" + d, body: content}).StatusCode == 201
}

// manifest makes a new image of old layers and one of its own.
func (w *worker) manifest(s *site) ([]byte, bool) {
	w.serial++
	config := fmt.Appendf(nil, `{"architecture":"amd64","os":"linux","author":"%s %d"}`, w.repo, w.serial)
	made := image{blobs: [][]byte{config, fmt.Appendf(nil, "layer %s %d", w.repo, w.serial)}}
	for _, i := range w.random.Perm(sharedLayers)[:1+w.random.IntN(3)] {
		made.blobs = append(made.blobs, layerContent(i))
	}
	layers := []string{}
	for _, layer := range made.blobs[1:] {
		layers = append(layers, descriptor(ociLayer, layer))
	}
	made.raw = fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":%s,"layers":[%s]}`, ociManifest, descriptor(ociConfig, config), strings.Join(layers, ","))
	w.old = append(w.old, made)
	return made.raw, w.uploadAll(s, made)
}

func (w *worker) uploadAll(s *site, made image) bool {
	ok := true
	for _, blob := range made.blobs {
		ok = w.upload(s, blob) && ok
	}
	return ok
}

// push records an image or an index once the registry has accepted it.
func (w *worker) push(s *site, reference string, raw []byte, mediaType string) bool {
	d := digestOf(raw)
	w.seen[d] = true
	if reference == "" {
		reference = d
	}
	if s.putManifest(w.repo, reference, raw, mediaType).StatusCode != 201 {
		if reference != d {
			delete(w.tags, reference) // nobody knows
		}
		return false
	}
	w.must[d] = raw
	if reference == d {
		w.loose[d] = true
	} else {
		w.tags[reference] = d
		delete(w.loose, d)
	}
	return true
}

// step is one thing that a client does.
func (w *worker) step(s *site) {
	tag := fmt.Sprintf("v%d", w.random.IntN(3))
	switch w.random.IntN(12) {
	case 8, 9, 10, 11: // an image that was there before; perhaps it is being collected
		if len(w.old) > 0 {
			if made := w.old[w.random.IntN(len(w.old))]; w.uploadAll(s, made) {
				w.push(s, tag, made.raw, ociManifest)
			}
		}
	case 0, 1, 2: // a new image under a tag, which moves
		if raw, ok := w.manifest(s); ok {
			w.push(s, tag, raw, ociManifest)
		}
	case 3: // by digest alone
		if raw, ok := w.manifest(s); ok {
			w.push(s, "", raw, ociManifest)
		}
	case 4: // an index of two images that are pushed by digest before
		first, ok := w.manifest(s)
		second, also := w.manifest(s)
		if ok && also && w.push(s, "", first, ociManifest) && w.push(s, "", second, ociManifest) {
			w.push(s, tag, indexOf(first, second), ociIndex)
		}
	case 5: // a tag with its history; what it leaves is for the pruner
		w.forgetTag(tag)
		s.remove("/v2/" + w.repo + "/manifests/" + tag)
	case 6, 7: // a pull
		for d := range w.must {
			s.get("/v2/" + w.repo + "/manifests/" + d)
			return
		}
	}
}

// forgetTag expects nothing more of images which only this tag's history may name. As the
// history is the registry's, that is everything that no other tag has now.
func (w *worker) forgetTag(tag string) {
	delete(w.tags, tag)
	w.expectOnly(func(d string) bool {
		for _, current := range w.tags {
			if current == d {
				return true
			}
		}
		return w.loose[d]
	})
}

// expectOnly keeps what is wanted, with the children of its indexes.
func (w *worker) expectOnly(wanted func(string) bool) {
	kept := map[string][]byte{}
	for d, raw := range w.must {
		if !wanted(d) {
			continue
		}
		kept[d] = raw
		for _, child := range childrenOf(raw) {
			if below, found := w.must[child]; found {
				kept[child] = below
			}
		}
	}
	w.must = kept
}

func childrenOf(raw []byte) (list []string) {
	var index struct{ Manifests []struct{ Digest string } }
	_ = json.Unmarshal(raw, &index) // made by this test
	for _, child := range index.Manifests {
		list = append(list, child.Digest)
	}
	return list
}

// prune deletes Images as the pruner does: those that no stream names and nobody expects.
func (w *worker) prune(s *site) {
	for d := range w.seen {
		if _, expected := w.must[d]; !expected {
			s.api.DeleteImage(d)
		}
	}
}

// check pulls everything that was accepted.
func (w *worker) check(t *testing.T, s *site) {
	t.Helper()
	for d, raw := range w.must {
		if len(childrenOf(raw)) == 0 {
			s.pullable(t, w.repo, raw)
			continue
		}
		if answer := s.get("/v2/" + w.repo + "/manifests/" + d).want(200); digestOf(answer.body) != d {
			t.Errorf("index %s has other bytes", d)
		}
	}
}

// mortalReplica is a replica that dies at its nth write.
func (s *site) mortalReplica(t *testing.T, writes int64) *site {
	t.Helper()
	other := *s
	var process *mortal
	api, metadata := s.api, s.metadata
	other.env = startWith(t, s.driver, func(deps *app.Dependencies) {
		process = &mortal{StorageDriver: deps.Driver, directory: s.directory}
		process.left.Store(writes)
		deps.Driver, deps.API = process, api
		deps.Metadata, deps.Leases, deps.Clock, deps.Now = metadata, s.leases, s.clock, time.Now
	})
	other.env.api = api
	t.Cleanup(other.registry.Collections.Stop)
	return &other
}

// Behaviour 86: whatever clients do, and whenever processes die, each accepted image stays
// pullable with all its blobs, and in the end nothing but what is in use is stored.
func TestRandomPushesDeletesCollectionsAndCrashes(t *testing.T) {
	seed := *randomSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	defer func() {
		if t.Failed() {
			t.Logf("repeat with -registry.seed=%d -registry.rounds=%d", seed, *randomRounds)
		}
	}()
	random := rand.New(rand.NewPCG(seed, 1))
	s := newSite(t)
	s.pushImage("team/kept", "v1", "kept")
	workers := make([]*worker, 4)
	for i := range workers {
		workers[i] = &worker{
			repo: fmt.Sprintf("team/worker%d", i), random: rand.New(rand.NewPCG(seed, uint64(i)+2)),
			must: map[string][]byte{}, tags: map[string]string{}, loose: map[string]bool{}, seen: map[string]bool{},
		}
	}
	var deleted, checked int64
	for round := range *randomRounds {
		s.age(t)
		// New processes: none remembers which blobs it marked before.
		replicas := []*site{s.mortalReplica(t, math.MaxInt64), s.mortalReplica(t, 1+random.Int64N(200))}
		collecting := replicas[0]
		if round%2 == 1 { // or the one that dies, perhaps before it has deleted anything
			collecting = replicas[random.IntN(2)]
		}
		location := collecting.post(`{"dryRun":false}`).want(202).Header.Get("Location")
		var group sync.WaitGroup
		for i, w := range workers {
			group.Go(func() {
				for range 12 {
					w.step(replicas[(i+w.random.IntN(2))%2])
				}
			})
		}
		group.Wait()
		deleted += s.ended(location).DeletedBlobs // a failure is that of the process which died
		fresh := s.replica(t)
		for _, w := range workers {
			w.check(t, fresh)
			checked += int64(len(w.must))
		}
		if t.Failed() {
			t.Fatalf("after round %d", round)
		}
		for _, w := range workers {
			w.prune(s)
		}
	}
	for _, w := range workers {
		w.must = map[string][]byte{}
		for i := range 3 {
			s.replica(t).remove(fmt.Sprintf("/v2/%s/manifests/v%d", w.repo, i))
		}
		w.prune(s)
	}
	s.age(t)
	if report := s.replica(t).collect(`{"dryRun":false}`); report.State != gc.StateSucceeded || len(report.Errors) > 0 {
		t.Fatalf("last collection: %+v", report)
	}
	if checked == 0 || deleted == 0 && *randomRounds > 2 {
		t.Errorf("%d images were checked and %d blobs collected: nothing was tried", checked, deleted)
	}
	if left := s.blobs(t); len(left) != 3 {
		t.Errorf("%d blobs are stored, want the three of the image that was kept: %v", len(left), left)
	}
}

// blobs lists what is stored.
func (s *site) blobs(t *testing.T) (list []string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(s.directory, "docker/registry/v2/blobs"), func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Name() == "data" {
			list = append(list, filepath.Base(filepath.Dir(path)))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// workload is something that clients do again and again.
type workload struct {
	name    string
	clients int
	// size is the number of bytes that one operation moves, 0 when only operations count.
	size int64
	// against are the references.
	against []string
	// pushes leave content that has to be removed.
	pushes bool
	// latency rows show percentiles instead of throughput.
	latency bool
	do      operation
}

// operation is one thing that one client does.
type operation func(ctx context.Context, f *field, client *http.Client, c *contender, worker int) error

// numbers make every pushed content different from all others.
var numbers atomic.Uint64

func workloads(o options) []workload {
	var list []workload
	sizes := []int64{kib, mib, 100 * mib}
	for i, size := range sizes {
		for _, clients := range []int{1, 16, 128} {
			if int64(clients)*size > o.pulled {
				continue
			}
			list = append(list, workload{
				name: "blob pull " + sizeName(size), clients: clients, size: size, against: []string{contenderStock, contenderFiles}, do: pullBlob(i),
			})
		}
	}
	for _, size := range sizes {
		for _, clients := range []int{1, 8, 16, 128} {
			if int64(clients)*size > o.pushed {
				continue
			}
			list = append(list, workload{name: "blob push " + sizeName(size), clients: clients, size: size, against: []string{contenderStock}, pushes: true, do: pushOneBlob(size)})
		}
	}
	for _, size := range sizes[:2] {
		list = append(list, workload{name: "image push " + sizeName(size), clients: 8, size: size, against: []string{contenderStock}, pushes: true, do: pushOneImage(size)})
	}
	for _, clients := range []int{1, 16} {
		list = append(list,
			workload{name: "manifest GET by tag", clients: clients, against: []string{contenderStock}, do: getManifest(http.MethodGet, "latest")},
			workload{name: "manifest HEAD by tag", clients: clients, against: []string{contenderStock}, do: getManifest(http.MethodHead, "latest")},
			workload{name: "manifest GET by digest", clients: clients, against: []string{contenderStock}, do: getManifest(http.MethodGet, "")},
		)
	}
	return append(list,
		workload{name: "tags/list of 10,000 tags", clients: 4, against: []string{contenderStock}, latency: true, do: get("/v2/" + tagsRepository + "/tags/list?n=1000&last=" + seedTag(tagCount/2))},
		workload{name: "catalog page of 20,000 repositories", clients: 4, against: []string{contenderStock}, latency: true, do: get("/v2/_catalog?n=1000&last=" + benchNamespace + "/" + seedRepository(repositoryCount/2))},
	)
}

func sizeName(size int64) string {
	if size < mib {
		return fmt.Sprintf("%d KiB", size/kib)
	}
	return fmt.Sprintf("%d MiB", size/mib)
}

func get(path string) operation {
	return func(ctx context.Context, _ *field, client *http.Client, c *contender, _ int) error {
		_, err := do(ctx, client, call{method: http.MethodGet, url: c.url + path, token: c.token, status: http.StatusOK})
		return err
	}
}

func pullBlob(layer int) operation {
	return func(ctx context.Context, f *field, client *http.Client, c *contender, _ int) error {
		want := f.image.layers[layer]
		path := "/v2/" + pullRepository + "/blobs/" + want.digest.String()
		if c.storage == "" {
			path = "/" + want.digest.Encoded()
		}
		got, err := do(ctx, client, call{method: http.MethodGet, url: c.url + path, token: c.token, status: http.StatusOK})
		if err == nil && got.bytes != want.size {
			err = fmt.Errorf("%s: %d bytes of %s, want %d", c.name, got.bytes, want.digest, want.size)
		}
		return err
	}
}

func getManifest(method, reference string) operation {
	return func(ctx context.Context, f *field, client *http.Client, c *contender, _ int) error {
		target := reference
		if target == "" {
			target = f.image.digest.String()
		}
		path := "/v2/" + pullRepository + "/manifests/" + target
		header := http.Header{"Accept": {"application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json"}}
		_, err := do(ctx, client, call{method: method, url: c.url + path, token: c.token, header: header, status: http.StatusOK})
		return err
	}
}

func pushOneBlob(size int64) operation {
	return func(ctx context.Context, _ *field, client *http.Client, c *contender, worker int) error {
		blob := newContent(size, numbers.Add(1)<<8)
		return pushBlob(ctx, client, c, fmt.Sprintf("%s/push-%d", benchNamespace, worker%16), blob.digest, blob.size, blob.reader())
	}
}

// pushOneImage pushes to a repository that gets a hundred images: neither one that is new each time nor
// one that grows without end.
func pushOneImage(size int64) operation {
	return func(ctx context.Context, _ *field, client *http.Client, c *contender, worker int) error {
		number := numbers.Add(1)
		image := newManifest(newContent(size, number<<8))
		repository := fmt.Sprintf("%s/push-image-%d-%d", benchNamespace, worker, number/800)
		return pushImage(ctx, client, c, repository, fmt.Sprintf("v%d", number), image)
	}
}

// sample is what one contender reached in one round.
type sample struct {
	perSecond float64
	// cpu and apiCPU are for one operation.
	cpu, apiCPU time.Duration
	latencies   []time.Duration
}

// measure lets the contenders take turns.
func (f *field) measure(ctx context.Context, w workload) (*row, error) {
	r := &row{workload: w, samples: map[string][]sample{}}
	for round := range f.options.rounds {
		for _, c := range f.contenders {
			if c.name != contenderOurs && !slices.Contains(w.against, c.name) {
				continue
			}
			s, err := f.once(ctx, w, c)
			if err != nil {
				return nil, fmt.Errorf("round %d: %w", round+1, err)
			}
			r.samples[c.name] = append(r.samples[c.name], s)
			if w.pushes {
				if err := f.clean(c); err != nil {
					return nil, err
				}
			}
		}
	}
	return r, nil
}

// once measures one contender: connections and caches are warm, then all clients run until the time is
// up, and what has begun is completed and counted.
func (f *field) once(ctx context.Context, w workload, c *contender) (sample, error) {
	client := f.client(w.clients)
	defer client.CloseIdleConnections()
	if err := f.warm(ctx, w, c, client); err != nil {
		return sample{}, err
	}
	stopProfile := f.profile(w, c)
	defer stopProfile()
	cpu, apiCPU := c.cpu(), time.Duration(0)
	if c.api != nil {
		apiCPU = c.api.cpu()
	}
	latencies, errs := make([][]time.Duration, w.clients), make([]error, w.clients)
	var group sync.WaitGroup
	start := time.Now()
	for worker := range w.clients {
		group.Go(func() {
			for errs[worker] == nil && (latencies[worker] == nil || time.Since(start) < f.options.each) {
				before := time.Now()
				errs[worker] = w.do(ctx, f, client, c, worker)
				latencies[worker] = append(latencies[worker], time.Since(before))
			}
		})
	}
	group.Wait()
	elapsed := time.Since(start)
	all := slices.Concat(latencies...)
	for _, err := range errs {
		if err != nil {
			return sample{}, err
		}
	}
	count := time.Duration(len(all))
	s := sample{perSecond: float64(len(all)) / elapsed.Seconds(), cpu: (c.cpu() - cpu) / count, latencies: all}
	if c.api != nil {
		s.apiCPU = (c.api.cpu() - apiCPU) / count
	}
	return s, nil
}

// warm opens the connections. A pull of much content needs one client to fill the page cache.
func (f *field) warm(ctx context.Context, w workload, c *contender, client *http.Client) error {
	if w.pushes || w.size >= 100*mib {
		_, err := do(ctx, client, call{method: http.MethodGet, url: c.url + warmPath(c), token: c.token, status: http.StatusOK})
		if err == nil && !w.pushes {
			err = w.do(ctx, f, client, c, 0)
		}
		return err
	}
	errs := make([]error, w.clients)
	var group sync.WaitGroup
	for worker := range w.clients {
		group.Go(func() { errs[worker] = w.do(ctx, f, client, c, worker) })
	}
	group.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func warmPath(c *contender) string {
	if c.storage == "" {
		return "/"
	}
	return "/v2/"
}

package importer

import (
	"context"
	"runtime/debug"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
)

// Importer serves all imports of a process. It is safe for concurrent use.
type Importer struct {
	options Options
	process *slots
	tenants *shares
	hosts   *shares
	// parsing holds those who turn bytes of strangers into objects, which take many times the memory.
	parsing    *slots
	memory     *memory
	remembered *remembered
}

var _ Interface = &Importer{}

// New returns an Importer. Start from DefaultOptions.
func New(options Options) (*Importer, error) {
	if err := options.Validate(); err != nil {
		return nil, err
	}
	registerMetrics()
	limits := options.Limits
	workers := func() int { return options.Settings().Workers }
	return &Importer{
		options:    options,
		process:    &slots{limit: workers},
		tenants:    newShares(func() int { return tenantPlaces(workers(), limits.RequestWorkers) }),
		hosts:      newShares(func() int { return limits.HostWorkers }),
		parsing:    &slots{limit: func() int { return limits.Parsers }},
		memory:     &memory{limit: limits.ProcessBytes},
		remembered: newRemembered(options.Limits.Remembered),
	}, nil
}

// Import implements Interface.
func (i *Importer) Import(ctx context.Context, request Request) Result {
	begun := i.options.Clock.Now()
	s := newSession(i, &request)
	defer s.end()
	settings := i.options.Settings()
	p := newPlan(settings, i.options.Platform, request.StreamInsecure)

	orders, units := p.items(request.Items)
	s.runAll(ctx, units)
	// Tags of the repository may turn out to be the same lookups.
	result := Result{Items: s.results(orders, request.Repository != nil)}
	if request.Repository != nil {
		result.Repository = s.repository(ctx, p, request.Repository)
	}
	record(&request, orders, &result, i.options.Clock.Since(begun))
	return result
}

func (p *plan) items(items []Item) ([]*order, []*unit) {
	orders := make([]*order, 0, len(items))
	var units []*unit
	for _, item := range items {
		o, isNew := p.item(item)
		orders = append(orders, o)
		if isNew {
			units = append(units, o.unit)
		}
	}
	return orders, units
}

// runAll looks up the units, a few at a time, and returns when all have an outcome. Units of
// one registry never take all places while units of another wait, so that a registry that
// hangs does not use up the time of the others.
func (s *session) runAll(ctx context.Context, units []*unit) {
	workers := s.importer.options.Limits.RequestWorkers
	share := workers
	if severalHosts(units) {
		share = max(1, workers-1)
	}
	pending := append([]*unit(nil), units...)
	running := map[string]int{}
	active := 0
	ended := make(chan *unit)
	for len(pending) > 0 || active > 0 {
		for at := 0; active < workers && at < len(pending); {
			next := pending[at]
			if running[next.lookupKey.repository.host] >= share {
				at++
				continue
			}
			pending = append(pending[:at], pending[at+1:]...)
			active++
			running[next.lookupKey.repository.host]++
			go func() {
				defer func() { ended <- next }()
				s.run(ctx, next)
			}()
		}
		done := <-ended
		active--
		running[done.lookupKey.repository.host]--
	}
}

func severalHosts(units []*unit) bool {
	for _, u := range units {
		if u.lookupKey.repository.host != units[0].lookupKey.repository.host {
			return true
		}
	}
	return false
}

// run looks up one unit within its time and always leaves an outcome. Content of strangers
// must not end a server that others use, so a panic becomes an error of this unit.
func (s *session) run(ctx context.Context, u *unit) {
	defer contain(u.lookupKey.repository.host, func(err error) { u.outcome = &outcome{err: FromRemote(err)} })
	itemCtx, cancel := s.withItemTimeout(ctx)
	defer cancel()
	result, err := s.lookUp(itemCtx, u)
	if err != nil {
		result = &outcome{err: FromRemote(err)}
		if result.err.Reason == metav1.StatusReasonTimeout {
			s.explainTimeout(ctx, itemCtx, result)
		}
	}
	u.outcome = result
}

// contain is deferred and turns a panic into an error.
func contain(host string, fail func(error)) {
	if cause := recover(); cause != nil {
		klog.ErrorS(nil, "An import panicked", "registry", host, "cause", cause, "stack", string(debug.Stack()))
		fail(inside())
	}
}

func (s *session) lookUp(ctx context.Context, u *unit) (*outcome, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	repository, err := s.open(u.lookupKey.repository, u.ref)
	if err != nil {
		return nil, err
	}
	l := &lookup{session: s, unit: u, repository: repository}
	return l.run(ctx)
}

func (s *session) withItemTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	if s.request.ItemTimeout <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, s.request.ItemTimeout)
}

// explainTimeout tells apart whose time ran out: that of the whole request, that of the
// item, or that of a single question, which has its message already.
func (s *session) explainTimeout(ctx, itemCtx context.Context, result *outcome) {
	switch {
	case ctx.Err() != nil:
		result.err, result.unfinished = timeout("not finished within the time of the request"), true
	case itemCtx.Err() != nil:
		result.err = timeout("the registry did not answer within " + s.request.ItemTimeout.Round(time.Second).String())
	}
}

// results hands outcomes to those who asked for them. The last who shares an outcome takes
// the object itself, unless it is needed further, the others copies that count as further
// bytes.
func (s *session) results(orders []*order, needed bool) []ItemResult {
	remaining := map[*unit]int{}
	for _, o := range orders {
		remaining[o.unit]++
	}
	results := make([]ItemResult, 0, len(orders))
	for _, o := range orders {
		if o.unit == nil {
			results = append(results, ItemResult{Err: o.err})
			continue
		}
		remaining[o.unit]--
		results = append(results, s.result(o, remaining[o.unit] == 0 && !needed))
	}
	return results
}

func (s *session) result(o *order, last bool) ItemResult {
	found := o.unit.outcome
	result := ItemResult{
		RemoteDigest: found.remote, Note: found.note, Unchanged: found.unchanged,
		Err: found.err, Unfinished: found.unfinished,
	}
	if o.unit.ref.ID == "" {
		result.Tag = o.unit.ref.Tag
	}
	if found.image == nil {
		return result
	}
	if !last {
		if err := s.keep(found.size()); err != nil {
			return ItemResult{Tag: result.Tag, Err: err}
		}
	}
	repository := o.written.AsRepository()
	reference := func(d *described) string {
		specific := repository
		specific.ID = d.digest
		return specific.Exact()
	}
	result.Reference = reference(found.image)
	result.Image = found.image.issue(result.Reference, o.raw, last)
	for _, child := range found.children {
		result.Children = append(result.Children, child.issue(reference(child), o.raw, last))
	}
	return result
}

// size is that of all images of the outcome.
func (o *outcome) size() int64 {
	total := o.image.size
	for _, child := range o.children {
		total += child.size
	}
	return total
}

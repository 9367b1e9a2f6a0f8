package agent

import (
	"context"
	"slices"
	"time"

	"go.uber.org/zap"
	"k8s.io/utils/clock"

	"image.alauda.io/registry/pkg/nodeca/etchosts"
	"image.alauda.io/registry/pkg/nodeca/fsroot"
	"image.alauda.io/registry/pkg/nodeca/hostfiles"
	"image.alauda.io/registry/pkg/nodeca/inputs"
	"image.alauda.io/registry/pkg/nodeca/reasons"
	"image.alauda.io/registry/pkg/nodeca/trustroots"
)

// Agent keeps one node in the wanted state. It is not safe for concurrent use.
type Agent struct {
	options Options
	clock   clock.WithTicker
	log     *zap.Logger
	metrics *Metrics
	fault   func(operation, path string) error

	guard        removalGuard
	contested    contests
	config       *inputs.Config
	missingSince time.Time
	hosts        hostsMemory
	swept        time.Time
	last         Status
	warned       map[string]time.Time
}

// New makes an agent; the options must be valid.
func New(options Options, clock clock.WithTicker, log *zap.Logger, metrics *Metrics) *Agent {
	return &Agent{options: options, clock: clock, log: log, metrics: metrics, contested: contests{}, warned: map[string]time.Time{}}
}

// outcome collects what one pass did and found.
type outcome struct {
	status  Status
	written map[string]int
	removed map[string]int
	// tampered counts by name of file.
	tampered    map[string]int
	hostsOK     bool
	hostsWrites int
	effects     []trustroots.Root
	// again is when a postponed repair is due; zero for none.
	again time.Duration
}

func (o *outcome) add(found ...reasons.Reason) {
	o.status.Reasons = append(o.status.Reasons, found...)
}

// Pass brings the node into the wanted state once and returns how it is.
func (a *Agent) Pass(ctx context.Context) Status {
	status, _ := a.pass(ctx)
	return status
}

func (a *Agent) pass(ctx context.Context) (Status, time.Duration) {
	start := a.clock.Now()
	o := &outcome{
		status:  Status{Mode: a.options.Mode, Node: a.options.NodeName, Roots: []RootStatus{}, Hosts: []HostStatus{}, HostsFile: HostsFileStatus{IP: []string{}}},
		written: map[string]int{}, removed: map[string]int{}, tampered: map[string]int{},
	}
	tree, err := fsroot.Open(a.options.HostEtc, fsroot.Options{Fault: a.fault})
	if err != nil {
		o.add(reasons.FromError(err, "/etc", ""))
	} else {
		if a.options.Mode == ModeCleanup {
			a.cleanup(ctx, tree, o)
		} else {
			a.sync(ctx, tree, o)
		}
		tree.Close()
	}
	o.status.Reasons = reasons.Sort(o.status.Reasons)
	if o.status.Reasons == nil {
		o.status.Reasons = []reasons.Reason{}
	}
	o.status.Time = a.clock.Now()
	a.logReasons(o.status)
	a.metrics.observe(o, o.status.Time.Sub(start))
	a.last = o.status
	return o.status, o.again
}

// sync is a pass of the mode sync.
func (a *Agent) sync(ctx context.Context, tree *fsroot.Root, o *outcome) {
	now := a.clock.Now()
	in := inputs.Read(a.sources(), now)
	if in.Config != nil {
		a.config = in.Config
	}
	removal := a.guard.allows(in, now)
	o.status.ConfigHash = in.Hash

	roots := a.detect(tree, o)
	trusted := a.roots(ctx, tree, roots, in, removal, o)
	a.hostsFile(ctx, tree, in, removal, o)

	excused := a.inputsExcused(in, now)
	for _, reason := range in.Reasons {
		if !excused || reason.Reason != reasons.ConfigurationMissing {
			o.add(reason)
		}
	}
	switch {
	case in.Missing && excused:
		o.status.Ready = true
	default:
		o.status.Ready = !in.Missing && in.Config != nil && trusted && o.hostsOK &&
			!o.status.has(reasons.ReadOnlyFilesystem) && !(a.options.Strict && ineffective(roots))
	}
}

func (a *Agent) sources() inputs.Sources {
	return inputs.Sources{CertificatesDir: a.options.CertificatesDir, ConfigDir: a.options.ConfigDir, Families: inputs.FamiliesOf(a.options.NodeIPs)}
}

// inputsExcused reports whether missing inputs are still tolerated: only for a node that was ready,
// and not for long.
func (a *Agent) inputsExcused(in *inputs.Inputs, now time.Time) bool {
	if !in.Missing {
		a.missingSince = time.Time{}
		return false
	}
	if a.missingSince.IsZero() {
		a.missingSince = now
	}
	return a.last.Ready && now.Sub(a.missingSince) < missingFor
}

func (a *Agent) detect(tree *fsroot.Root, o *outcome) []trustroots.Root {
	options := trustroots.Options{
		Forced:         a.options.Roots,
		CreatedByAgent: func(rootPath string) bool { return hostfiles.CreatedByAgent(tree, rootPath) },
	}
	if a.config != nil {
		options.Runtimes = a.config.Runtimes
	}
	found := trustroots.Detect(tree, options)
	o.add(found.Reasons...)
	for _, root := range found.Roots {
		if root.Active {
			o.effects = append(o.effects, root)
			o.status.Roots = append(o.status.Roots, RootStatus{tree.HostPath(root.Path), string(root.Kind), root.Effect.String()})
		}
	}
	return found.Roots
}

func ineffective(roots []trustroots.Root) bool {
	return slices.ContainsFunc(roots, func(root trustroots.Root) bool { return root.Active && root.Effect == trustroots.NotEffective })
}

// roots serves all roots and reports whether every own host is trusted in at least one active root.
func (a *Agent) roots(ctx context.Context, tree *fsroot.Root, roots []trustroots.Root, in *inputs.Inputs, removal bool, o *outcome) bool {
	now := a.clock.Now()
	wants := a.wants(in)
	servedBy := map[string][]string{}
	sweep := !a.options.DryRun && (a.swept.IsZero() || now.Sub(a.swept) >= sweepEvery)
	for _, root := range roots {
		if sweep {
			o.add(hostfiles.Sweep(tree, root.Path, now, false)...)
		}
		result := hostfiles.Sync(ctx, tree, toHostfiles(root), wants, hostfiles.Options{
			Keep:         in.Kept,
			AllowRemoval: removal,
			Hold:         func(host string) bool { return a.contested.held(root.Path+"/"+host, now) },
			DryRun:       a.options.DryRun,
		})
		a.record(tree, root, result, o)
		for _, host := range result.Tampered {
			if !a.contested.held(root.Path+"/"+host, now) {
				a.contested.add(root.Path+"/"+host, now)
			}
		}
		for _, host := range result.Satisfied {
			if root.Active {
				servedBy[host] = append(servedBy[host], tree.HostPath(root.Path))
			}
		}
	}
	if sweep {
		a.swept = now
	}
	for _, want := range wants {
		o.status.Hosts = append(o.status.Hosts, HostStatus{want.Host, append([]string{}, servedBy[want.Host]...), in.Bundles[want.Host].NotAfter})
	}
	return a.ownTrusted(in, servedBy)
}

func toHostfiles(root trustroots.Root) hostfiles.Root {
	return hostfiles.Root{Path: root.Path, Containerd: root.Kind == trustroots.Containerd, Active: root.Active, Fallback: root.Fallback}
}

// wants lists the valid hosts in the order of their names.
func (a *Agent) wants(in *inputs.Inputs) []hostfiles.Want {
	var wants []hostfiles.Want
	for host, bundle := range in.Bundles {
		wants = append(wants, hostfiles.Want{
			Host: host, PEM: bundle.PEM,
			Own:       a.config != nil && slices.Contains(a.config.Registries, host),
			KeepShape: a.config == nil,
		})
	}
	slices.SortFunc(wants, func(x, y hostfiles.Want) int {
		if x.Host < y.Host {
			return -1
		}
		return 1
	})
	return wants
}

func (a *Agent) ownTrusted(in *inputs.Inputs, servedBy map[string][]string) bool {
	if a.config == nil {
		return false
	}
	for _, host := range a.config.Registries {
		if len(servedBy[host]) == 0 && !in.Kept[host] {
			return false
		}
	}
	return true
}

// record logs the changes of one root and adds its counts and reasons.
func (a *Agent) record(tree *fsroot.Root, root trustroots.Root, result hostfiles.Result, o *outcome) {
	path := tree.HostPath(root.Path)
	for _, change := range result.Changes {
		a.log.Info("trust root changed", zap.String("what", change.What), zap.String("root", path),
			zap.String("host", change.Host), zap.String("why", change.Why), zap.Bool("dryRun", a.options.DryRun))
	}
	o.written[path] += result.Written
	o.removed[path] += result.Removed
	for _, kind := range result.TamperedKinds {
		o.tampered[kind]++
	}
	o.add(result.Reasons...)
}

// cleanup is a pass of the mode cleanup: everything owned is removed, and that is verified.
func (a *Agent) cleanup(ctx context.Context, tree *fsroot.Root, o *outcome) {
	if in := inputs.Read(a.sources(), a.clock.Now()); in.Config != nil {
		a.config = in.Config
	}
	clean := true
	for _, root := range a.detect(tree, &outcome{}) {
		if !a.options.DryRun {
			o.add(hostfiles.Sweep(tree, root.Path, a.clock.Now(), true)...)
			a.record(tree, root, hostfiles.Clean(ctx, tree, toHostfiles(root)), o)
		}
		owned, err := hostfiles.Owned(tree, root.Path)
		if err != nil {
			o.add(reasons.FromError(err, tree.HostPath(root.Path), ""))
		}
		clean = clean && err == nil && len(owned) == 0
	}
	o.hostsOK = true
	if a.options.ManageHosts {
		state := etchosts.Apply(ctx, tree, nil, a.options.DryRun)
		a.recordHosts(tree, state, "cleanup", o)
	}
	o.status.Ready = clean && o.hostsOK && !o.status.worst(reasons.Error)
}

// logReasons writes a warning at most once an hour for each reason and place.
func (a *Agent) logReasons(status Status) {
	for _, reason := range status.Reasons {
		key := reason.Reason + "\x00" + reason.Root + "\x00" + reason.Host
		if at, known := a.warned[key]; known && status.Time.Sub(at) < time.Hour {
			continue
		}
		a.warned[key] = status.Time
		write := a.log.Warn
		if reason.Severity == reasons.Info {
			write = a.log.Info
		}
		write(reason.Message, zap.String("reason", reason.Reason), zap.String("root", reason.Root), zap.String("host", reason.Host))
	}
	for key, at := range a.warned {
		if status.Time.Sub(at) >= time.Hour {
			delete(a.warned, key)
		}
	}
}

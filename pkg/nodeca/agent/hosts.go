package agent

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"image.alauda.io/registry/pkg/nodeca/etchosts"
	"image.alauda.io/registry/pkg/nodeca/fsroot"
	"image.alauda.io/registry/pkg/nodeca/inputs"
	"image.alauda.io/registry/pkg/nodeca/reasons"
)

// hostsMemory is what is remembered about /etc/hosts between passes.
type hostsMemory struct {
	wanted  string
	written time.Time
	repairs repairs
}

// hostsFile brings the block in /etc/hosts into the wanted state, if that is known and due.
func (a *Agent) hostsFile(ctx context.Context, tree *fsroot.Root, in *inputs.Inputs, removal bool, o *outcome) {
	o.hostsOK = true
	if !a.options.ManageHosts || a.config == nil || a.config.HostsRejected {
		return
	}
	entries := a.config.Hosts
	state := etchosts.Observe(tree, entries)
	if len(entries) == 0 && (!removal || in.Config == nil) {
		state.AsWanted = true // what is there stays until the inputs can be believed
	}
	if state.AsWanted || a.options.DryRun {
		state.Changed = !state.AsWanted
		a.recordHosts(tree, state, "dry run", o)
		return
	}
	now := a.clock.Now()
	wanted := fmt.Sprint(entries)
	isRepair := wanted == a.hosts.wanted
	if wait := hostsInterval - now.Sub(a.hosts.written); wait > 0 {
		o.again = wait
		a.recordHosts(tree, state, "", o)
		return
	}
	if isRepair && a.hosts.repairs.held(now) {
		state.Reasons = append(state.Reasons, reasons.New(reasons.Contention, tree.HostPath("hosts"), "",
			"another program keeps changing our block in %s; it is repaired only every 5 minutes", tree.HostPath("hosts")))
		a.recordHosts(tree, state, "", o)
		return
	}
	state = etchosts.Apply(ctx, tree, entries, false)
	why := "new address"
	if isRepair {
		why = "repaired"
	}
	if state.Changed {
		a.hosts.written = now
		if isRepair {
			a.hosts.repairs.add(now)
			o.tampered["hosts"]++
		}
	}
	if state.AsWanted {
		a.hosts.wanted = wanted
	}
	a.recordHosts(tree, state, why, o)
}

func (a *Agent) recordHosts(tree *fsroot.Root, state etchosts.State, why string, o *outcome) {
	o.add(state.Reasons...)
	o.hostsOK = state.AsWanted
	o.status.HostsFile.Present = len(state.Addresses) > 0
	for _, address := range state.Addresses {
		o.status.HostsFile.IP = append(o.status.HostsFile.IP, address.String())
	}
	if state.Changed {
		if !a.options.DryRun {
			o.hostsWrites++
		}
		a.log.Info("hosts file changed", zap.String("file", tree.HostPath("hosts")), zap.Strings("addresses", o.status.HostsFile.IP),
			zap.String("why", why), zap.Bool("dryRun", a.options.DryRun))
	}
}

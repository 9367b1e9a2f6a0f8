package installed

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// ownNames are in the names of what the product makes, and of what others make for it.
var ownNames = regexp.MustCompile(`image-registry|image-api-server|image\.alauda\.io|imageregistry|image-pruner|node-ca|registry-monitoring|system:(image|registry)`)

// columns are what a trace is known by: the kind, the namespace, the name and the label of the operator.
const columns = `custom-columns=K:.kind,S:.metadata.namespace,N:.metadata.name,L:.metadata.labels.app\.kubernetes\.io/managed-by`

// Traces lists what the cluster has of the product, as "Kind namespace/name", sorted: everything in its
// namespace, everything with the label of the operator or a name of the product, and ServiceAccounts that name
// a pull secret. Records of images, events and what every namespace has are left out.
func (c *Cluster) Traces() ([]string, error) {
	out, err := c.TryShell(`kinds=$(kubectl api-resources --verbs=list -o name | grep -vE '^events|\.metrics\.k8s\.io$|^stored(images|imagestreams)\.|^componentstatuses$' | paste -sd, -)
		kubectl get "$kinds" -A --no-headers -o ` + "'" + columns + `'`)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	var traces []string
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		if strings.HasPrefix(line, "Warning: ") { // of kinds that are deprecated
			continue
		}
		if len(fields) != 4 {
			return nil, fmt.Errorf("a line of kubectl get has %d columns: %s", len(fields), line)
		}
		kind, namespace, name, manager := fields[0], strings.TrimPrefix(fields[1], "<none>"), fields[2], fields[3]
		everywhere := name == "kube-root-ca.crt" || kind == "ServiceAccount" && name == "default"
		if manager == Binaries[0] || ownNames.MatchString(name) || namespace == Namespace && !everywhere {
			traces = append(traces, kind+" "+namespace+"/"+name)
		}
	}
	out, err = c.TryShell(`kubectl get serviceaccounts -A -o jsonpath='{range .items[*]}{.metadata.namespace}/{.metadata.name}{range .imagePullSecrets[*]} {.name}{end}{"\n"}{end}'`)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	for line := range strings.Lines(out) {
		if account, names, _ := strings.Cut(strings.TrimSpace(line), " "); strings.Contains(names, "-registry-pull") {
			traces = append(traces, "ServiceAccount "+account+" names "+names)
		}
	}
	slices.Sort(traces)
	return slices.Compact(traces), nil
}

// Beyond returns the traces that none of the patterns matches as a whole, and the patterns without a trace.
func Beyond(traces []string, patterns ...string) (unknown, missing []string) {
	found := map[string]bool{}
	for _, trace := range traces {
		at := slices.IndexFunc(patterns, func(pattern string) bool {
			return regexp.MustCompile("^(?:" + pattern + ")$").MatchString(trace)
		})
		if at < 0 {
			unknown = append(unknown, trace)
			continue
		}
		found[patterns[at]] = true
	}
	for _, pattern := range patterns {
		if !found[pattern] {
			missing = append(missing, pattern)
		}
	}
	return unknown, missing
}

package app

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/yaml"

	"github.com/spf13/cobra"

	"image.alauda.io/registry/pkg/logging"
	"image.alauda.io/registry/pkg/pruner/options"
	"image.alauda.io/registry/pkg/pruner/report"
	"image.alauda.io/registry/pkg/pruner/roots"
)

const (
	outputText = "text"
	outputJSON = "json"
	outputYAML = "yaml"
	outputRBAC = "rbac"
)

// listedKind is one line of `pruner roots`.
type listedKind struct {
	Kind     string `json:"kind"`
	Version  string `json:"version,omitempty"`
	Origin   string `json:"origin"`
	Reason   string `json:"reason,omitempty"`
	Required bool   `json:"required"`
	// Listable: the caller may list the objects of all namespaces that are read.
	Listable bool `json:"listable"`
	// Problem says why the objects cannot be listed whatever the rights.
	Problem string `json:"problem,omitempty"`

	group, resource string
	// namespaces are those that are read; empty means all.
	namespaces []string
}

type listedKinds struct {
	Kinds    []listedKind `json:"kinds"`
	Excluded []string     `json:"excluded,omitempty"`
	// Unknown are API groups that do not say which kinds they have.
	Unknown map[string]string `json:"unknown,omitempty"`
}

func newRootsCommand() *cobra.Command {
	opts := options.Defaults()
	var conn connection
	var verbosity int
	output := outputText
	command := &cobra.Command{
		Use:   "roots",
		Short: "List the kinds whose objects protect images",
		Long: `List every kind whose objects protect the images that they name, why it is one, and whether the caller may
list it.

Custom kinds are found by themselves: those that are known to use images, and those whose published schema
holds containers, a Pod spec, a Pod template or a field named as images are. A run of "pruner images" ends before the first deletion when
a required one cannot be listed. With -o rbac a ClusterRole and a ClusterRoleBinding are printed that let the
scheduled run list what the caller may not list yet; give --as=system:serviceaccount:image-registry-system:pruner
to ask for the scheduled run.`,
		Example: `  pruner roots
  pruner roots --as=system:serviceaccount:image-registry-system:pruner -o rbac | kubectl apply -f -`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if !slices.Contains([]string{outputText, outputJSON, outputYAML, outputRBAC}, output) {
				return failure(exitUsage, "--output: %q is none of text, json, yaml, rbac", output)
			}
			if err := opts.Validate(); err != nil {
				return failure(exitUsage, "%w", err)
			}
			connected, err := conn.clients(opts.QPS, opts.Burst)
			if err != nil {
				return err
			}
			logging.Setup("pruner", verbosity)
			r := &run{Options: opts, clients: connected, clock: clock.RealClock{}, stdout: command.OutOrStdout(), stderr: command.ErrOrStderr()}
			return r.listRoots(command.Context(), output)
		},
	}
	flags := command.Flags()
	opts.AddRootFlags(flags)
	conn.addFlags(flags)
	flags.StringVarP(&output, "output", "o", output, "text, json, yaml or rbac")
	flags.IntVarP(&verbosity, "loglevel", "v", 0, "verbosity of the log, 0 to 8")
	return command
}

// listRoots prints all kinds. It ends with 3 when a run could not establish who uses images.
func (r *run) listRoots(ctx context.Context, output string) error {
	config, err := r.configuration(ctx)
	if err != nil {
		return err
	}
	found, err := r.findRoots(ctx, config)
	if err != nil {
		return err
	}
	listed := listedKinds{Excluded: found.Excluded, Unknown: map[string]string{}}
	for gv, err := range found.Unknown {
		listed.Unknown[gv.String()] = err.Error()
	}
	for group, resources := range roots.BuiltIns() {
		for _, resource := range resources {
			listed.Kinds = append(listed.Kinds, listedKind{
				Kind: roots.Kind{Group: group, Resource: resource}.Name(), Version: "v1", Origin: string(roots.BuiltIn), Required: true, group: group, resource: resource,
			})
		}
	}
	slices.SortFunc(listed.Kinds, func(a, b listedKind) int {
		return cmp.Or(strings.Compare(a.group, b.group), strings.Compare(a.resource, b.resource))
	})
	for _, kind := range found.Kinds {
		listed.Kinds = append(listed.Kinds, listedKind{
			Kind: kind.Name(), Version: kind.Version, Origin: string(kind.Origin), Reason: kind.Detail,
			Required: kind.Required, Problem: kind.Unlistable, group: kind.Group, resource: kind.Resource, namespaces: kind.Namespaces(),
		})
	}
	for i := range listed.Kinds {
		if listed.Kinds[i].Listable, err = r.mayList(ctx, listed.Kinds[i]); err != nil {
			return err
		}
	}
	if err := listed.print(r.stdout, output); err != nil {
		return failure(exitFailed, "write: %w", err)
	}
	return listed.verdict(output)
}

func (r *run) mayList(ctx context.Context, kind listedKind) (bool, error) {
	if kind.Problem != "" {
		return false, nil
	}
	namespaces := kind.namespaces
	if len(namespaces) == 0 {
		namespaces = []string{metav1.NamespaceAll}
	}
	for _, namespace := range namespaces {
		review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
			ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "list", Group: kind.group, Resource: kind.resource, Namespace: namespace},
		}}
		answer, err := r.kube.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
		if err != nil {
			return false, failure(exitFailed, "review of permissions: %w", err)
		}
		if !answer.Status.Allowed {
			return false, nil
		}
	}
	return true, nil
}

// verdict is the exit code: a script that looks at it need not read the table. Whoever asks for the role
// gets it, and nothing is wrong with that.
func (l listedKinds) verdict(output string) error {
	if len(l.Unknown) > 0 {
		return failure(exitReferences, "%d API groups do not say which kinds they have", len(l.Unknown))
	}
	missing := 0
	for _, kind := range l.Kinds {
		if kind.Required && (kind.Problem != "" || !kind.Listable && output != outputRBAC) {
			missing++
		}
	}
	if missing > 0 {
		return failure(exitReferences, "%d kinds that may use images cannot be listed: a run would end before it deletes anything", missing)
	}
	return nil
}

func (l listedKinds) print(w io.Writer, output string) error {
	switch output {
	case outputJSON:
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		return encoder.Encode(l)
	case outputYAML:
		text, err := yaml.Marshal(l)
		if err == nil {
			_, err = w.Write(text)
		}
		return err
	case outputRBAC:
		text, err := roots.Role(l.ungranted())
		if err == nil {
			_, err = w.Write(text)
		}
		return err
	}
	return l.table(w)
}

// ungranted are the kinds of the role to print: none if every one can be listed, otherwise also those that can be,
// perhaps by the role that was printed before and is replaced.
func (l listedKinds) ungranted() []roots.Kind {
	var all []roots.Kind
	missing := false
	for _, kind := range l.Kinds {
		lacks := !kind.Listable && kind.Problem == ""
		missing = missing || lacks
		shipped := kind.Origin == string(roots.BuiltIn) || kind.Origin == string(roots.Preset)
		if lacks || !shipped && kind.Problem == "" {
			all = append(all, roots.Kind{Group: kind.group, Resource: kind.resource})
		}
	}
	if !missing {
		return nil
	}
	return all
}

func (l listedKinds) table(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	word := map[bool]string{true: "yes", false: "no"}
	fmt.Fprintln(table, "KIND\tORIGIN\tREQUIRED\tLISTABLE\tREASON")
	for _, kind := range l.Kinds {
		reason := kind.Reason
		if kind.Problem != "" {
			reason = kind.Problem
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", kind.Kind, kind.Origin, word[kind.Required], word[kind.Listable], report.OneLine(reason))
	}
	for _, kind := range l.Excluded {
		fmt.Fprintf(table, "%s\texcluded\tno\t-\tleft out by --exclude-root-kind\n", kind)
	}
	for _, gv := range slices.Sorted(maps.Keys(l.Unknown)) {
		fmt.Fprintf(table, "%s\tunknown\tyes\tno\t%s\n", gv, report.OneLine(l.Unknown[gv]))
	}
	return table.Flush()
}

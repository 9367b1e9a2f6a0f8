package roots

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"

	"golang.org/x/sync/errgroup"
)

// parallelDocuments bounds how many schemas are in memory at a time.
const parallelDocuments = 2

// Finder finds the custom roots of a cluster.
type Finder struct {
	API    API
	Config *Config
	// Excluded are the kinds that the administrator leaves out.
	Excluded Exclusions
}

// Found are the custom roots of a cluster.
type Found struct {
	// Kinds are the roots, sorted by group and resource.
	Kinds []Kind
	// Unknown are the group versions whose kinds are not known, with the reason. If there is one, nobody
	// knows whether it holds users of images.
	Unknown map[schema.GroupVersion]error
	// Excluded are kinds that the API server serves and the administrator left out, as "resource.group".
	Excluded []string
	// Unused are exclusions that match nothing.
	Unused []string
}

// served is a kind of the API server, with every version in which it is served, the preferred one first.
type served struct {
	group, resource string
	versions        []servedVersion
}

type servedVersion struct {
	version string
	metav1.APIResource
}

// Find asks the API server.
func (f Finder) Find(ctx context.Context) (*Found, error) {
	lists, failed, err := f.API.Resources(ctx)
	if err != nil {
		return nil, fmt.Errorf("discovery: %w", err)
	}
	all := f.served(lists)
	found := &Found{Unknown: map[schema.GroupVersion]error{}, Unused: f.Excluded.unused(all)}
	for gv, err := range failed {
		if !f.Excluded.hasGroup(gv.Group) && !slices.Contains(harmless, gv.Group) && !slices.Contains(own, gv.Group) {
			found.Unknown[gv] = err
		}
	}
	chosen := map[string]bool{}
	for _, kind := range f.configured(all, found.Unknown) {
		chosen[kind.Name()] = true
		if f.Excluded.Has(kind.Group, kind.Resource) {
			found.Excluded = append(found.Excluded, kind.Name())
			continue
		}
		found.Kinds = append(found.Kinds, kind)
	}
	var candidates []served
	for _, s := range all {
		name := nameOf(s.group, s.resource)
		switch {
		case chosen[name] || slices.Contains(own, s.group) || scheme.Scheme.IsGroupRegistered(s.group) && !custom(s):
		case f.Excluded.Has(s.group, s.resource):
			found.Excluded = append(found.Excluded, name)
		case isPreset(s.group, s.resource):
			if !slices.Contains(f.Config.DisablePresets, s.group) {
				kind := s.kind(s.versions[0])
				kind.Origin, kind.Required, kind.Detail = Preset, true, "known to use images"
				found.Kinds = append(found.Kinds, kind)
			}
		default:
			candidates = append(candidates, s)
		}
	}
	discovered, err := f.discover(ctx, candidates)
	if err != nil {
		return nil, err
	}
	found.Kinds = append(found.Kinds, discovered...)
	slices.SortFunc(found.Kinds, func(a, b Kind) int {
		return cmp.Or(strings.Compare(a.Group, b.Group), strings.Compare(a.Resource, b.Resource))
	})
	slices.Sort(found.Excluded)
	return found, nil
}

// custom: the kind has a version that Kubernetes itself, as it is known here, does not bring.
func custom(s served) bool {
	return slices.ContainsFunc(s.versions, func(v servedVersion) bool {
		gv := schema.GroupVersion{Group: s.group, Version: v.version}
		return !scheme.Scheme.IsVersionRegistered(gv) || !scheme.Scheme.Recognizes(gv.WithKind(v.Kind)) && !v.storesNothing()
	})
}

// served brings what discovery says into the order of kinds. Subresources are left out.
func (f Finder) served(lists []*metav1.APIResourceList) []served {
	index := map[string]int{}
	var all []served
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			continue
		}
		for _, resource := range list.APIResources {
			if strings.Contains(resource.Name, "/") {
				continue
			}
			name := nameOf(gv.Group, resource.Name)
			i, known := index[name]
			if !known {
				i = len(all)
				index[name] = i
				all = append(all, served{group: gv.Group, resource: resource.Name})
			}
			all[i].versions = append(all[i].versions, servedVersion{gv.Version, resource})
		}
	}
	return all
}

// kind describes a kind in one of its versions.
func (s served) kind(v servedVersion) Kind {
	kind := Kind{
		Group: s.group, Version: v.version, Resource: s.resource, Kind: v.Kind, Namespaced: v.Namespaced,
		Watchable: slices.Contains(v.Verbs, "watch"),
	}
	if !slices.Contains(v.Verbs, "list") {
		kind.Unlistable = "the API server offers no list of it"
	}
	return kind
}

// storesNothing: objects of the kind are only questions to the server.
func (v servedVersion) storesNothing() bool {
	return !slices.ContainsFunc(v.Verbs, func(verb string) bool { return verb != "create" })
}

// configured are the kinds of the configuration. One that the API server does not serve is a root that
// cannot be listed, unless it only hides behind a group that does not answer.
func (f Finder) configured(all []served, unknown map[schema.GroupVersion]error) []Kind {
	var kinds []Kind
	for _, root := range f.Config.Roots {
		same := slices.IndexFunc(kinds, func(k Kind) bool { return k.Group == root.Group && k.Resource == root.Resource })
		if same >= 0 {
			kinds[same].Selections = append(kinds[same].Selections, root.selection())
			continue
		}
		kind := Kind{Group: root.Group, Version: root.Version, Resource: root.Resource, Unlistable: "the API server does not serve it"}
		for gv, err := range unknown {
			if gv.Group == root.Group {
				kind.Unlistable = err.Error()
			}
		}
		i := slices.IndexFunc(all, func(s served) bool { return s.group == root.Group && s.resource == root.Resource })
		if i >= 0 {
			for _, version := range all[i].versions {
				if root.Version == "" || root.Version == version.version {
					kind = all[i].kind(version)
					break
				}
			}
		}
		kind.Origin, kind.Required, kind.Detail = Configured, root.isRequired(), "named in the configuration"
		kind.Selections = []Selection{root.selection()}
		kinds = append(kinds, kind)
	}
	return kinds
}

// discover looks at the schemas of the candidates, each group version once.
func (f Finder) discover(ctx context.Context, candidates []served) ([]Kind, error) {
	byVersion := map[schema.GroupVersion][]served{}
	for _, s := range candidates {
		for _, v := range s.versions {
			gv := schema.GroupVersion{Group: s.group, Version: v.version}
			byVersion[gv] = append(byVersion[gv], s)
		}
	}
	if len(byVersion) == 0 {
		return nil, nil
	}
	published, err := f.API.Schemas(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the published schemas (/openapi/v3): %w", err)
	}
	var mu sync.Mutex
	verdicts := map[schema.GroupVersion]map[string]verdict{}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelDocuments)
	for gv, kinds := range byVersion {
		group.Go(func() error {
			found := f.verdicts(ctx, gv, published[gv], kinds)
			mu.Lock()
			defer mu.Unlock()
			verdicts[gv] = found
			return ctx.Err()
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	var kinds []Kind
	for _, s := range candidates {
		if kind, isRoot := s.judge(verdicts); isRoot {
			kinds = append(kinds, kind)
		}
	}
	return kinds, nil
}

// verdicts examines the kinds of one group version. A schema that cannot be read does not say that there
// are no images.
func (f Finder) verdicts(ctx context.Context, gv schema.GroupVersion, location string, kinds []served) map[string]verdict {
	found := map[string]verdict{}
	d, err := f.document(ctx, location)
	for _, s := range kinds {
		for _, v := range s.versions {
			if v.version != gv.Version {
				continue
			}
			var root *node
			if err == nil {
				root = d.kind(gv.Group, gv.Version, v.Kind)
			}
			switch {
			case err != nil:
				found[s.resource] = verdict{images: "unknown, because its schema cannot be read: " + err.Error()}
			case root == nil:
				found[s.resource] = verdict{images: "unknown, because no schema of it is published"}
			default:
				found[s.resource] = d.examine(root)
			}
		}
	}
	return found
}

func (f Finder) document(ctx context.Context, location string) (*document, error) {
	if location == "" {
		return &document{}, nil
	}
	body, err := f.API.Document(ctx, location)
	if apierrors.IsNotFound(err) {
		return &document{}, nil
	}
	if err != nil {
		return nil, err
	}
	defer body.Close()
	d, err := readDocument(body)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("schema document %s", location), err)
	}
	return d, nil
}

// judge decides by all versions of a kind: they are views of the same objects, and one of them may show
// what another hides. It is read in the first version that names images.
func (s served) judge(verdicts map[schema.GroupVersion]map[string]verdict) (Kind, bool) {
	var optional *Kind
	for _, v := range s.versions {
		found := verdicts[schema.GroupVersion{Group: s.group, Version: v.version}][s.resource]
		if v.storesNothing() || found == (verdict{}) {
			continue
		}
		kind := s.kind(v)
		kind.Origin = Discovered
		if found.images != "" {
			kind.Required, kind.Detail = true, found.images
			return kind, true
		}
		if optional == nil && kind.Unlistable == "" {
			kind.Detail = found.free + " is of free form and may name images"
			optional = &kind
		}
	}
	if optional == nil {
		return Kind{}, false
	}
	return *optional, true
}

func splitPath(path string) []string { return strings.Split(strings.Trim(path, "/"), "/") }

package auth

import (
	"context"
	"fmt"
	"strings"

	"golang.org/x/sync/singleflight"
)

const (
	apiGroup   = "image.alauda.io"
	apiVersion = "v1"
)

// Authorizer decides access.
type Authorizer struct {
	reviewer Reviewer
	options  Options
	cache    *cache[Decision]
	// denials are apart, so that a flood of made-up names pushes out no permission.
	denials *cache[Decision]
	flight  singleflight.Group
	gate    *gate
}

// NewAuthorizer returns an Authorizer that asks the reviewer.
func NewAuthorizer(reviewer Reviewer, options Options) (*Authorizer, error) {
	if err := options.Validate(); err != nil {
		return nil, err
	}
	return &Authorizer{reviewer: reviewer, options: options, cache: newCache[Decision](accessCacheSize, options.Now), denials: newCache[Decision](accessCacheSize, options.Now), gate: newGate()}, nil
}

// Authorize decides one access. An error means that there was no answer.
func (a *Authorizer) Authorize(ctx context.Context, identity Identity, attributes Attributes) (Decision, error) {
	key := identity.key() + attributes.key()
	if decision, ok := known(key, a.cache, a.denials); ok {
		a.observeCache(ResultHit)
		return decision, nil
	}
	a.observeCache(ResultMiss)
	return shared(ctx, &a.flight, a.gate, key, func(ctx context.Context) (Decision, error) {
		if decision, ok := known(key, a.cache, a.denials); ok { // the same question ended since the look above
			return decision, nil
		}
		start := a.options.Now()
		decision, err := a.reviewer.ReviewAccess(ctx, identity, attributes)
		if err != nil {
			observe(a.options, KindAccess, ResultError, start)
			return Decision{}, fmt.Errorf("access review: %w", err)
		}
		ttl, outcome, kept := a.options.DenyTTL, ResultDenied, a.denials
		if decision.Allowed {
			ttl, outcome, kept = a.options.AllowTTL, ResultAllowed, a.cache
		}
		observe(a.options, KindAccess, outcome, start)
		kept.put(key, decision, a.options.Now().Add(ttl))
		return decision, nil
	})
}

func (a *Authorizer) observeCache(result string) {
	if a.options.Observer != nil {
		a.options.Observer.CacheUsed(KindAccess, result)
	}
}

// key distinguishes accesses in the cache. No part contains the character between them.
func (a Attributes) key() string {
	return strings.Join([]string{"", a.Verb, a.Group, a.Version, a.Resource, a.Subresource, a.Namespace, a.Name, a.Path}, "\x00")
}

// String names what is accessed as messages do: `update imagestreams/layers "a/b"`.
func (a Attributes) String() string {
	if a.Path != "" {
		return a.Verb + " " + a.Path
	}
	resource := a.Resource
	if a.Subresource != "" {
		resource += "/" + a.Subresource
	}
	object := strings.Trim(a.Namespace+"/"+a.Name, "/")
	if object == "" {
		return a.Verb + " " + resource
	}
	return fmt.Sprintf("%s %s %q", a.Verb, resource, object)
}

// Layers is the access to the content of an image stream: get, update or delete.
func Layers(verb, namespace, stream string) Attributes {
	return Attributes{Verb: verb, Group: apiGroup, Version: apiVersion, Resource: "imagestreams", Subresource: "layers", Namespace: namespace, Name: stream}
}

// DeleteTag is the access to remove one tag.
func DeleteTag(namespace, stream, tag string) Attributes {
	return Attributes{Verb: "delete", Group: apiGroup, Version: apiVersion, Resource: "imagestreamtags", Namespace: namespace, Name: stream + ":" + tag}
}

// CreateStream is the access to create an image stream.
func CreateStream(namespace, stream string) Attributes {
	return Attributes{Verb: "create", Group: apiGroup, Version: apiVersion, Resource: "imagestreams", Namespace: namespace, Name: stream}
}

// CreateSignature is the access to add signatures to images: to those of a stream, or of the
// whole cluster when namespace and stream are empty.
func CreateSignature(namespace, stream string) Attributes {
	return Attributes{Verb: "create", Group: apiGroup, Version: apiVersion, Resource: "imagesignatures", Namespace: namespace, Name: stream}
}

// Prune is the access of the pruner.
func Prune() Attributes {
	return Attributes{Verb: "delete", Group: apiGroup, Version: apiVersion, Resource: "images"}
}

// ListStreams is the access to the catalog, of all namespaces when namespace is empty.
func ListStreams(namespace string) Attributes {
	return Attributes{Verb: "list", Group: apiGroup, Version: apiVersion, Resource: "imagestreams", Namespace: namespace}
}

// Metrics lists the accesses of which one is enough to read metrics.
func Metrics() []Attributes {
	return []Attributes{
		{Verb: "get", Group: apiGroup, Version: apiVersion, Resource: "registry", Subresource: "metrics"},
		{Verb: "get", Path: "/metrics"},
	}
}

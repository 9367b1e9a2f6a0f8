// Package ingress decides how the registry is exposed: which Ingresses there are, under which host names, with
// which certificates and annotations.
//
// In come Config, the settings of the cluster, the Ingresses and Secrets as they are, and a time. Out come
// routes to be rendered, the names of Ingresses that go, the host names for everybody who has to know them,
// and problems, each one sentence that names the route and the field to change.
//
// Everything is pure: it reads no cluster, writes nothing and never deletes what it did not make. An Ingress
// without the operator's mark belongs to somebody else, whatever its name. A faulty route never keeps another
// one, or the registry, from being there.
package ingress

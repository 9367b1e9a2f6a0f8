// Package monitoring keeps what lets others watch the registry: ServiceMonitors, a PodMonitor and a
// PrometheusRule for the Prometheus Operator, and a ConfigMap with a dashboard for Grafana.
//
// In come Config, for its state, and the definitions of three kinds that belong to others and may come and go
// at any time. Out go the objects of manifests/operands/shared. While a kind is not served it is not asked
// for, so its absence costs nothing and logs nothing; from the moment it is served, its objects are made and
// watched. In Removed only what tells of the operator stays; in Unmanaged nothing is written.
//
// StreamTags counts image stream tags once an hour, and Queues turns the work queues of all controllers into
// the operator's figures about syncs.
//
// An object of one of our names that somebody else made is neither changed nor deleted. What the condition
// of the registry is does not depend on anything here: nobody is Degraded because he cannot be watched.
package monitoring

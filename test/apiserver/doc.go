// Package apiserver tests image-api-server as a whole: two replicas behind the aggregation layer of a
// real kube-apiserver, with the rights that the operator grants it and with each storage backend. The
// tests speak to it like any client, through kube-apiserver; the few that need a certain replica speak
// to it directly.
package apiserver

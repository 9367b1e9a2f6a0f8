// Package trigger lets workloads follow image stream tags: when a tag moves, the containers that the
// annotation image.alauda.io/triggers names get the new pull spec, and the workload rolls by itself.
//
// In: the image streams in memory; the metadata of Deployments, DaemonSets, StatefulSets and CronJobs, of
// which only those with the annotation are remembered. Out: one JSON patch for each workload that is behind,
// which holds only if the containers are still what was read, and Events about annotations that cannot be
// carried out.
//
// Before a patch, the workload is read anew. Tags of other namespaces are followed only if the ServiceAccounts
// of the workload's namespace may pull from there. A workload that somebody keeps changing back is left to him
// but for one attempt an hour. What a trigger asks for wrongly is told once, not tried again and again.
package trigger

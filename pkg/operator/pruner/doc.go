// Package pruner keeps CronJob image-pruner as ImagePruner/cluster asks for, and reports how its Jobs end.
//
// In come ImagePruner/cluster, the state of Config/cluster, the CronJob, its Jobs and the termination message
// of the newest finished Pod. Out come the CronJob with its ServiceAccount and role, and the conditions and
// lastRun of ImagePruner. Decide is pure.
//
// While the registry is removed the CronJob is kept but suspended and Jobs that still run are stopped; the
// user's own suspend is never touched. A failed prune never makes the registry look broken: nothing of this
// flows into the conditions of Config. The package does not prune; the binary pruner does.
package pruner

// Package conditions says how the registry is doing.
//
// In comes an Input: the management state, what the Deployments, the DaemonSet and the APIService report, the
// faults of the last sync and since when other controllers fail. Out come the conditions of Config/cluster.
// Each of the three top conditions is a list of rules that is read from the top; the first that holds wins,
// so the code reads like the tables of the specification.
//
// There is no ClusterOperator here: healthy is exactly Available=True, Progressing=False, Degraded=False.
// Messages are stable, so that a status is not rewritten without news, and never hold a credential.
//
// The package reads no cluster and no clock; times come in with the input.
package conditions

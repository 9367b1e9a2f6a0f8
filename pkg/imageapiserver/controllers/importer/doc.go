// Package importer is the controller that imports the tags of image streams when their spec asks for it.
//
// In: every image stream that was added or changed, and the import engine with the function that applies its
// results. Out: streams whose importable tags have been imported or carry a condition that says why not,
// Images, and one event for each new failure.
//
// What needs an import is decided on a fresh copy of the stream, from generations alone, so a failure that was
// recorded is not repeated by itself. Failures that pass (time-outs, busy registries, the network) are retried
// with growing pauses as long as their condition stands; what is known about them is only in memory and is
// found again in the conditions by the next leader.
//
// The package never fetches anything itself and never writes more of a stream than the results of imports.
package importer

// Package collect has the registry collect the garbage of its storage, and sees to it that no more goes
// than should.
//
// In come what the cluster says about its images, the settings of a collection and the client of the
// registry. First guards look at the cluster, then the registry makes a dry run, then its result is compared
// with what may go, and only then, and only when asked to, the registry collects. Out come both reports, or
// an error that says whether the collection was refused or failed.
//
// It never deletes anything itself and never looks into the storage. A collection that another client has
// started is followed to its end, not disturbed.
package collect

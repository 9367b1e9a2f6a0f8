// Package registryconfig keeps the registry as Config/cluster asks for.
//
// One controller with one key: observe (Config read live, everything else from caches), decide (packages
// storage and render), apply (package apply, only on a difference), report (package conditions, one status
// write and only with news). managed.go lists the steps of state Managed in their order, removed.go those of
// Removed; a failing step does not stop later ones that do not need its result.
//
// Into the spec it writes three things only, each by a merge patch against the version that it read: the
// finalizer, storage.managementState when it is empty, and the claim that it chose.
//
// It never waits inside a sync: a step that needs time reports what it waits for and is repeated. It does not
// issue certificates, hand out pull secrets or run the pruner; other controllers do, and it reports on them.
package registryconfig

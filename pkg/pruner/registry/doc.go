// Package registry is the pruner's client of the registry: it finds the registry, logs in and sends the few
// requests by which links are removed and collections are run.
//
// In come the address that was given or what a cluster says about it, authorities to trust, and a source of
// tokens that is asked again for every request. Out come outcomes: done, skipped because the registry still
// needs the thing, or failed with the registry's own words. What makes every further request pointless ends
// all of them: refused credentials, missing rights, read-only mode, and failures one after the other.
//
// It trusts no registry: every request has a deadline, answers are read up to a limit, no redirect is
// followed, and a wait that a registry asks for is bounded. A token goes to the given host only and appears
// in no error and no log. It decides nothing about what is to go.
package registry

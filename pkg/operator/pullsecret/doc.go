// Package pullsecret gives every workload ServiceAccount a pull credential for the registry, without
// anybody's help, keeps it valid and takes it away again.
//
// In come ServiceAccounts, the Secrets that this package labelled, Namespaces, the Service of the
// registry and Config/cluster. Out come one Secret of type kubernetes.io/dockerconfigjson for each
// ServiceAccount, holding a token that is bound to that Secret and has an audience of its own, and the
// name of the Secret in the list imagePullSecrets of the ServiceAccount. Decide is a pure function of
// what was read; Controller writes, each time against the version that was decided on.
//
// A name appears in a ServiceAccount only after its Secret holds a usable token. Names are
// deterministic, so no lost reference can cause a second Secret.
//
// It never touches a Secret without its label, never forces a write over somebody else's, never reads
// or makes long-lived token Secrets, and keeps no token in a cache, a log, an event or an error.
package pullsecret

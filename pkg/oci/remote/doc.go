// Package remote is the client for other registries: imports and pull-through read through it.
//
// In: a repository's name, the credentials that may be used there, and settings that can change while
// the process runs (rate limits, blocked and insecure registries, mirrors, denied networks). Out: raw
// manifests, blobs and tag names, each verified, or an *Error whose Kind says what went wrong in a
// sentence that is stable, so that a repeated failure does not look like news.
//
// One Client serves the whole process, because its limits are per registry and not per request: a
// token bucket, a number of requests at a time and the cool-down that a 429 asks for.
//
// go-containerregistry gives names, credentials and the reading of challenges. Requests, the exchange
// of tokens and redirects are made here: the library races plain HTTP against HTTPS, sends credentials
// to any realm that a registry names, and refuses realms on the registry's own private address.
//
// The package never speaks plain HTTP to a registry that is not insecure, never connects to a denied
// address, never sends a credential to a host that it was not made for, never reads a body beyond its
// limit, and never repeats a credential or a foreign server's text in an error.
package remote

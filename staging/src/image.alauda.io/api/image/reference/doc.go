// Package reference reads and writes pull specs and the compound names of the
// image API.
//
// In: text as people, registries and objects write it: "busybox",
// "host:5000/team/app:v1", "team/app@sha256:…", "<stream>:<tag>",
// "<stream>@<id>". Out: the parts, or an error that says what is wrong with the
// text; and back from parts to text in the forms that clients use.
//
// Everything here is pure: nothing is looked up, and a reference that parses
// need not exist anywhere.
package reference

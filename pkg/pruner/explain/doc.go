// Package explain says why an image stays, or what would remove it, in sentences for people and as a
// document for programs.
//
// In come a planner over a snapshot that remembers who uses what, and the image, tag or digest that
// somebody asks about. Out comes every reason there is, each with the rule, the objects and fields behind
// it, how long it holds, and what one would have to change.
//
// The verdicts are those of package plan; this package puts them into words and decides nothing. It calls
// no API.
package explain

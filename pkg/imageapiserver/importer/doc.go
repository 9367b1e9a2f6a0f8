// Package importer looks up images in other registries and describes them.
//
// In: a Request with single images, a repository, or both, the credentials to use and a
// context whose deadline is the budget. Out: a Result with one entry per image asked for,
// which has an Image, an error, or the word that nothing changed; for a repository its tags
// in order of importance and the names of those beyond the limit.
//
// Items are independent: what goes wrong with one never touches another. Each distinct
// manifest is fetched once per request, everything that a registry answers is treated as
// hostile, and memory, time and connections are bounded per request, per registry and per
// process.
//
// It never reads or writes the image API, never decides who may import from where, and
// knows nothing of streams: those who call it do.
package importer

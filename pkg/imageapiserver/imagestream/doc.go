// Package imagestream serves imagestreams with their subresources status and
// layers, and is the one door through which every other resource changes a
// stream.
//
// In: requests of users, and mutations by tags and mappings. Out: streams
// whose status follows their spec: generations, resolved tags, history,
// tracking tags, repository strings. Three strategies stand over one store:
// spec for users, status for status writers, internal for the tags resource.
//
// Each write passes one gate, in this order: Images taken up are stamped, then
// the size of the stream is checked. The package imports nothing from other
// registries and creates no Images.
package imagestream

// Package ext is where editions of Traefik that are sold add fields to routers. The module is part of
// Traefik's repository but not of its module, and it cannot be fetched; this one adds nothing either.
package ext

// HTTP has no further fields.
type HTTP struct{}

// Router has no further fields.
type Router struct{}

// Package apply writes desired objects to the cluster, and only when that changes something.
//
// In comes a desired object as an unstructured map that holds exactly the fields the operator wants. The
// live object comes from a cache, or from the API server when the cache does not know it. What the operator
// wrote before is read from the live object's managedFields; when that equals the desired object nothing is
// sent, so a second reconcile is silent. Otherwise the object is sent by server-side apply with one field
// manager and force: fields of others stay, our own are put back, fields that we no longer want go away.
//
// An object that somebody else keeps changing is put back at once a few times, and then once a minute: two
// programs that write against each other must not wear out the API server.
//
// Out comes the live object after the write and whether there was one.
//
// It deletes only objects that carry the operator's managed-by label or owner annotation, and it never
// replaces a whole object, label map or annotation map.
package apply

// Package imagetriggers tests on a real kube-apiserver what workloads get from image streams: containers that
// follow a tag, and short image names that the admission webhook resolves.
//
// image-api-server runs inside the test process with the rights of its ServiceAccount; the webhook is registered
// from the operator's manifest, so that its rules and conditions are those that clusters get, but reached on
// loopback. The Deployment controller runs, so that a rollout is one.
package imagetriggers

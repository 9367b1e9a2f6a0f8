// Package pruner tests the pruner as a whole against a real kube-apiserver with an image-api-server behind
// it. The pruner runs inside the test process, as a user who has the ClusterRole system:image-pruner and
// nothing else.
//
// Everything that it prunes was created moments ago. A proxy between it and kube-apiserver therefore adds
// some hours to the Date header, by which the pruner tells how old things are. The proxy also records
// requests and lets tests act in the middle of a run.
package pruner

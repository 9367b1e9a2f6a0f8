// Package imageoperation tests the operation of image-api-server against a real kube-apiserver: who may do
// what with the shipped roles, rolling restarts and certificate rotations under load, clusters that lack
// something, the configuration, the audit log, the metrics, and storage that does not answer.
//
// The servers run in the test process, with the rights and the hidden kinds of the operator's manifests.
// Where several replicas matter, a small balancer stands in for the Service: it passes new connections to
// replicas that say that they are ready and leaves existing ones alone.
package imageoperation

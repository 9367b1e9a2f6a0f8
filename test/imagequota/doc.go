// Package imagequota tests limits, quotas and the list of allowed registries of the image API against a
// real kube-apiserver, two replicas of image-api-server and kube-controller-manager.
//
// The tests need the tag component and the programs of the development cluster. Each has a namespace of
// its own. What is pure, or a matter of one process, is tested beside the code.
package imagequota

// Package lookup resolves short image names of workloads to image streams of their namespace, as a mutating
// admission webhook.
//
// In: an AdmissionReview v1 with a Pod, or a workload that makes Pods, on creation or update; the streams
// of the cluster in memory. Out: always the answer "allowed", with a JSON patch where an image name
// stands for a stream: the pull spec that the tag's reference policy gives, pinned by digest.
//
// Nothing is refused, stored or asked elsewhere, so an answer takes well below 10 ms and no side effect
// has to be undone. The port can be reached by anybody in the cluster: bodies and the memory for all of them
// are bounded, and what cannot be understood is answered with an HTTP error, on which kube-apiserver goes on
// without the webhook.
package lookup

// Package clients drives the registry on the development cluster with the programs that people
// really use: crane, skopeo, buildah, podman, containerd's ctr, oras, helm, cosign and
// regctl.
//
// Each client logs in with the token of a ServiceAccount, pushes, pulls by tag and by digest,
// copies between repositories of two namespaces, and is refused without permission with words that
// say who may not do what. The commands are shell scripts, written the way the clients'
// documentation has them. hack/clients.sh installs the programs; `make test-clients` does all of it.
package clients

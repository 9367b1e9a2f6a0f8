// Package runtimes shows that container runtimes read what the node agent writes, and that the programs
// built for arm64 run.
//
// Each test makes a node of its own: a mount namespace with a private /etc and a network namespace in which
// the registry has an address. The agent works on that /etc from the ConfigMaps of a real cluster's shape; then
// a runtime pulls from the registry by the name of its Service. Before the agent and after its clean-up the
// same pull fails for want of trust, so nothing but the agent's files makes it work. Nothing outside of the
// node's namespaces is changed.
//
// The tests are tagged runtimes, need root, and the programs that hack/runtimes.sh brings:
// make test-runtimes. The kubelet's containerd of the development cluster is in test/e2e.
package runtimes

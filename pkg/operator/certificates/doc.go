// Package certificates owns the private certification authority of the registry and every serving
// certificate that it signs.
//
// In come the Secrets and the trust ConfigMap as they are in the operand namespace, the cluster IPs of
// the Services, the state and the rotation annotations of Config/cluster, and the time. Out come the
// wanted Secrets, the trust bundle, the time of the next check and the reasons for every change. Decide
// is a pure function of its input except for the keys that it draws; Controller gathers, decides, writes
// and reports.
//
// A rotation of the authority has two phases, so that no client which trusts the published bundle ever
// meets a leaf that the bundle does not cover: first the next signer is published, a day later it signs,
// and the old one stays in the bundle for longer than a leaf lives.
//
// It never renews, replaces or deletes a Secret that does not carry the owner annotation: such a Secret
// was supplied by the administrator, is used as it is and only reported about. It never restarts
// anything: the servers re-read their files.
package certificates

// Package pulladmission keeps the admission policy that names the pull secret in a ServiceAccount while the
// ServiceAccount is created: Pods made in the same moment carry the name for life, and the kubelet finds the
// Secret at its next attempt.
//
// In come Config/cluster, what the API server serves (MutatingAdmissionPolicy of v1, else of v1beta1, else
// nothing) and both objects as they are. Out come the policy and its binding, applied where they differ, and
// deleted in every mode of the pull secrets but Full, or when Config disables them. What is served is looked
// at every ten minutes, because an upgrade of the cluster does not tell.
//
// It never makes a policy that can refuse a request, and never touches objects of another name. Without the
// kinds it writes nothing, and nothing else of the pull secrets depends on it.
package pulladmission

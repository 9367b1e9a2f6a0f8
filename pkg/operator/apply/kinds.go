package apply

import (
	"fmt"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Kind is one kind of object that the operator owns.
type Kind struct {
	GVK        schema.GroupVersionKind
	Resource   string
	Namespaced bool
	// Recreate allows delete-and-create when the API server refuses a change of an immutable field.
	Recreate bool
}

// GVR is the resource of the kind.
func (k Kind) GVR() schema.GroupVersionResource { return k.GVK.GroupVersion().WithResource(k.Resource) }

// Kinds is the list of everything the operator writes. A kind that is not here cannot be applied, so a
// manifest with a surprise in it fails in a unit test.
func Kinds() []Kind {
	kind := func(group, version, name, resource string, namespaced, recreate bool) Kind {
		return Kind{GVK: schema.GroupVersionKind{Group: group, Version: version, Kind: name}, Resource: resource, Namespaced: namespaced, Recreate: recreate}
	}
	const rbac, admission, flow = "rbac.authorization.k8s.io", "admissionregistration.k8s.io", "flowcontrol.apiserver.k8s.io"
	return []Kind{
		kind("", "v1", "ServiceAccount", "serviceaccounts", true, false),
		kind("", "v1", "Secret", "secrets", true, true),
		kind("", "v1", "ConfigMap", "configmaps", true, true),
		kind("", "v1", "Service", "services", true, false),
		kind("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", true, false),
		kind("apps", "v1", "Deployment", "deployments", true, true),
		kind("apps", "v1", "DaemonSet", "daemonsets", true, true),
		kind("batch", "v1", "CronJob", "cronjobs", true, false),
		kind("networking.k8s.io", "v1", "Ingress", "ingresses", true, false),
		kind("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", true, false),
		kind("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", true, false),
		kind(rbac, "v1", "Role", "roles", true, false),
		kind(rbac, "v1", "RoleBinding", "rolebindings", true, true),
		kind(rbac, "v1", "ClusterRole", "clusterroles", false, false),
		kind(rbac, "v1", "ClusterRoleBinding", "clusterrolebindings", false, true),
		kind("apiregistration.k8s.io", "v1", "APIService", "apiservices", false, false),
		kind(admission, "v1", "ValidatingAdmissionPolicy", "validatingadmissionpolicies", false, false),
		kind(admission, "v1", "ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings", false, false),
		kind(admission, "v1", "MutatingWebhookConfiguration", "mutatingwebhookconfigurations", false, false),
		kind(flow, "v1", "PriorityLevelConfiguration", "prioritylevelconfigurations", false, false),
		kind(flow, "v1", "FlowSchema", "flowschemas", false, false),
		kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", false, false),
	}
}

// KindOf finds the kind by its full name.
func KindOf(gvk schema.GroupVersionKind) (Kind, error) {
	for _, kind := range Kinds() {
		if kind.GVK == gvk {
			return kind, nil
		}
	}
	return Kind{}, fmt.Errorf("%s is not a kind that the operator writes", gvk)
}

// KindNamed finds the kind by its short name, for example "Deployment".
func KindNamed(name string) (Kind, error) {
	for _, kind := range Kinds() {
		if kind.GVK.Kind == name {
			return kind, nil
		}
	}
	return Kind{}, fmt.Errorf("%q is not a kind that the operator writes", name)
}

// Ref names one object. Namespace is empty for cluster-scoped kinds.
type Ref struct {
	Kind, Namespace, Name string
}

func (r Ref) String() string {
	if r.Namespace == "" {
		return r.Kind + " " + r.Name
	}
	return r.Kind + " " + r.Namespace + "/" + r.Name
}

package namespacepull

import (
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	imageregistryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/apply"
)

const (
	// BindingName is the RoleBinding in each namespace, RoleName the ClusterRole that it binds.
	BindingName = imageregistryv1.PullersRoleBindingName
	RoleName    = "system:image-puller"

	ownedAnnotation       = imageregistryv1.OwnedAnnotation
	descriptionAnnotation = imageregistryv1.Prefix + "description"
	description           = "Lets the workloads of this namespace pull its images. Remove the subjects, not the RoleBinding, to disable it."
	fieldManager          = imageregistryv1.OperatorName
	accountsGroupPrefix   = "system:serviceaccounts:"
)

// Input is everything that decides about one namespace.
type Input struct {
	// Grant: the registry is Managed, pull secrets are too, and the namespace is in scope.
	Grant bool
	// Revoke: what was granted is to be taken away. With neither, nothing is done.
	Revoke bool
	// Binding is the live RoleBinding; nil if there is none.
	Binding *rbacv1.RoleBinding
}

// Action is what is to be done with the RoleBinding.
type Action string

// The actions.
const (
	Keep   Action = "Keep"
	Create Action = "Create"
	Delete Action = "Delete"
	// Report: the RoleBinding binds another role. It is left, and the administrator is told.
	Report Action = "Report"
)

// Decide never touches a RoleBinding that exists, but to delete its own.
func Decide(in Input) Action {
	switch {
	case in.Grant && in.Binding == nil:
		return Create
	case in.Grant && !bindsPuller(in.Binding):
		return Report
	case in.Revoke && in.Binding != nil && owned(in.Binding):
		return Delete
	}
	return Keep
}

// owned says whether the operator made a RoleBinding, cached or live. Whoever copies one copies its annotation, too.
func owned(binding *rbacv1.RoleBinding) bool {
	if len(binding.ManagedFields) == 0 {
		return binding.Annotations[ownedAnnotation] == "true"
	}
	return apply.WroteMark(binding, fieldManager, ownedAnnotation)
}

// trim is the cache transform: it keeps what Decide looks at, and the mark only where the operator wrote it.
func trim(object any) (any, error) {
	binding, ok := object.(*rbacv1.RoleBinding)
	if !ok {
		return object, nil
	}
	var notes map[string]string
	if owned(binding) {
		notes = map[string]string{ownedAnnotation: "true"}
	}
	return &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: binding.Namespace, Name: binding.Name, UID: binding.UID, ResourceVersion: binding.ResourceVersion, Annotations: notes,
		},
		RoleRef: binding.RoleRef,
	}, nil
}

func bindsPuller(binding *rbacv1.RoleBinding) bool {
	return binding.RoleRef.Kind == "ClusterRole" && binding.RoleRef.Name == RoleName
}

// newBinding is the RoleBinding of a namespace.
func newBinding(namespace string) *rbacv1.RoleBinding {
	return &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace,
			Name:      BindingName,
			Labels: map[string]string{
				imageregistryv1.LabelName:      "image-registry-pullers",
				imageregistryv1.LabelComponent: "pull-secret",
				imageregistryv1.LabelPartOf:    imageregistryv1.PartOf,
				imageregistryv1.LabelManagedBy: fieldManager,
			},
			Annotations: map[string]string{ownedAnnotation: "true", descriptionAnnotation: description},
		},
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: RoleName},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: accountsGroupPrefix + namespace}},
	}
}

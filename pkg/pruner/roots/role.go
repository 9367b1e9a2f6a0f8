package roots

import (
	"bytes"
	"maps"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	imageregistryv1 "image.alauda.io/api/imageregistry/v1"
)

// roleName is the ClusterRole that `pruner roots -o rbac` prints; nothing in this product has that name.
const roleName = "image-pruner-custom-roots"

// Role is the YAML of a ClusterRole that lets the scheduled run read the kinds, and of its binding. It replaces the
// one that was printed before, so it holds all that is not granted otherwise. Without kinds it is a comment that
// says so.
func Role(kinds []Kind) ([]byte, error) {
	if len(kinds) == 0 {
		return []byte("# Nothing is missing: every kind that may use images can be listed.\n"), nil
	}
	byGroup := map[string][]string{}
	for _, kind := range kinds {
		byGroup[kind.Group] = append(byGroup[kind.Group], kind.Resource)
	}
	role := rbacv1.ClusterRole{
		TypeMeta:   metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "ClusterRole"},
		ObjectMeta: metav1.ObjectMeta{Name: roleName},
	}
	for _, group := range slices.Sorted(maps.Keys(byGroup)) {
		slices.Sort(byGroup[group])
		role.Rules = append(role.Rules, rbacv1.PolicyRule{
			APIGroups: []string{group}, Resources: slices.Compact(byGroup[group]), Verbs: []string{"list", "watch"},
		})
	}
	binding := rbacv1.ClusterRoleBinding{
		TypeMeta:   metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "ClusterRoleBinding"},
		ObjectMeta: metav1.ObjectMeta{Name: roleName},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: roleName},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: imageregistryv1.PrunerAccountName, Namespace: imageregistryv1.DefaultNamespace}},
	}
	var text bytes.Buffer
	for i, object := range []any{role, binding} {
		if i > 0 {
			text.WriteString("---\n")
		}
		part, err := yaml.Marshal(object)
		if err != nil {
			return nil, err
		}
		text.Write(part)
	}
	return text.Bytes(), nil
}

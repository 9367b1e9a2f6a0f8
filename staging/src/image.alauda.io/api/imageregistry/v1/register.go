package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupName is the API group of the operator.
const GroupName = "imageregistry.operator.alauda.io"

var (
	// GroupVersion is imageregistry.operator.alauda.io/v1.
	GroupVersion = schema.GroupVersion{Group: GroupName, Version: "v1"}
	// SchemeGroupVersion is the name that the generators look for.
	SchemeGroupVersion = GroupVersion
	// SchemeBuilder collects the functions that add this version to a scheme.
	SchemeBuilder = runtime.NewSchemeBuilder(addKnownTypes)
	// AddToScheme adds the types of this version to a scheme.
	AddToScheme = SchemeBuilder.AddToScheme
	// Install is AddToScheme under the name that API installers use.
	Install = AddToScheme
)

// Resource qualifies a resource name with the group.
func Resource(resource string) schema.GroupResource {
	return GroupVersion.WithResource(resource).GroupResource()
}

func addKnownTypes(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion,
		&Config{},
		&ConfigList{},
		&ImagePruner{},
		&ImagePrunerList{},
	)
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}

package docker10

import (
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupName is the API group that owns the kind DockerImage.
const GroupName = "image.alauda.io"

// Names by which a DockerImage is recognised.
const (
	// Kind is the kind of the metadata object.
	Kind = "DockerImage"
	// Version is the version inside the group, and the version that images
	// name in dockerImageMetadataVersion.
	Version = "1.0"
	// APIVersion is what is written.
	APIVersion = GroupName + "/" + Version
	// ForeignAPIVersion is read, because tools copy images from clusters that
	// write it.
	ForeignAPIVersion = "image.openshift.io/1.0"
)

var (
	// GroupVersion is image.alauda.io/1.0.
	GroupVersion = schema.GroupVersion{Group: GroupName, Version: Version}
	// SchemeGroupVersion is the name that the generators look for.
	SchemeGroupVersion = GroupVersion
	// SchemeBuilder collects the functions that add the type to a scheme.
	SchemeBuilder = runtime.NewSchemeBuilder(addKnownTypes)
	// AddToScheme adds the type to a scheme.
	AddToScheme = SchemeBuilder.AddToScheme
)

func addKnownTypes(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion, &DockerImage{})
	return nil
}

// KnownAPIVersion tells whether an apiVersion, as found in stored or sent
// metadata, stands for this type. An absent apiVersion does.
func KnownAPIVersion(apiVersion string) bool {
	switch apiVersion {
	case "", Version, APIVersion, ForeignAPIVersion:
		return true
	}
	return false
}

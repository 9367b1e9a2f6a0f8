package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupName is the API group of the records.
const GroupName = "storage.image.alauda.io"

// Names around the records.
const (
	// NameAnnotation holds the true name of the object in a record; the name of
	// the record itself is encoded.
	NameAnnotation = "storage.image.alauda.io/name"
	// ResourceStoredImages is the resource of StoredImage.
	ResourceStoredImages = "storedimages"
	// ResourceStoredImageStreams is the resource of StoredImageStream.
	ResourceStoredImageStreams = "storedimagestreams"
	// CRDStoredImages names the definition of StoredImage.
	CRDStoredImages = ResourceStoredImages + "." + GroupName
	// CRDStoredImageStreams names the definition of StoredImageStream.
	CRDStoredImageStreams = ResourceStoredImageStreams + "." + GroupName
	// GuardPolicyName is the admission policy that keeps everybody but the API
	// server from writing records.
	GuardPolicyName = "image-storage-guard.image.alauda.io"
)

var (
	// GroupVersion is storage.image.alauda.io/v1.
	GroupVersion = schema.GroupVersion{Group: GroupName, Version: "v1"}
	// SchemeGroupVersion is the name that the generators look for.
	SchemeGroupVersion = GroupVersion
	// SchemeBuilder collects the functions that add this version to a scheme.
	SchemeBuilder = runtime.NewSchemeBuilder(addKnownTypes)
	// AddToScheme adds the types of this version to a scheme.
	AddToScheme = SchemeBuilder.AddToScheme
)

func addKnownTypes(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion,
		&StoredImage{},
		&StoredImageList{},
		&StoredImageStream{},
		&StoredImageStreamList{},
	)
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}

// Package install puts the image API group into a scheme: internal types, v1,
// the conversions between them, defaults, and what every API group needs
// (list options and the unversioned types of the API machinery).
//
// In: a scheme and the import mode that tags get by default. Out: nothing but
// the registered types. It keeps no scheme of its own, so that tests and
// several servers in one process stay apart.
package install

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	imagev1 "image.alauda.io/api/image/v1"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	conversions "image.alauda.io/registry/pkg/imageapiserver/apis/image/v1"
)

// Install registers the group. A nil importMode means PreserveOriginal.
func Install(scheme *runtime.Scheme, importMode conversions.ImportModeSource) error {
	if err := imageapi.AddToScheme(scheme); err != nil {
		return fmt.Errorf("register internal types of %s: %w", imageapi.GroupName, err)
	}
	if err := conversions.AddToScheme(scheme); err != nil {
		return fmt.Errorf("register %s: %w", imagev1.SchemeGroupVersion, err)
	}
	conversions.AddDefaults(scheme, importMode)
	if err := scheme.SetVersionPriority(imagev1.SchemeGroupVersion); err != nil {
		return fmt.Errorf("order versions of %s: %w", imageapi.GroupName, err)
	}

	unversioned := schema.GroupVersion{Version: "v1"}
	metav1.AddToGroupVersion(scheme, unversioned)
	scheme.AddUnversionedTypes(unversioned,
		&metav1.Status{},
		&metav1.APIVersions{},
		&metav1.APIGroupList{},
		&metav1.APIGroup{},
		&metav1.APIResourceList{},
	)
	return nil
}

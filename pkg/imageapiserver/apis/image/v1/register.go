package v1

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	imagev1 "image.alauda.io/api/image/v1"
)

var (
	// localSchemeBuilder also collects the generated conversions.
	localSchemeBuilder = runtime.NewSchemeBuilder(imagev1.AddToScheme, addFieldLabels)

	// AddToScheme registers the v1 types, their conversions and field labels.
	// Defaults are registered by AddDefaults.
	AddToScheme = localSchemeBuilder.AddToScheme
)

// streamFieldLabels are the fields by which streams can be selected.
var streamFieldLabels = map[string]bool{
	"metadata.name":                true,
	"metadata.namespace":           true,
	"spec.dockerImageRepository":   true,
	"status.dockerImageRepository": true,
}

func addFieldLabels(scheme *runtime.Scheme) error {
	if err := scheme.AddFieldLabelConversionFunc(imagev1.SchemeGroupVersion.WithKind("ImageStream"), streamFieldLabel); err != nil {
		return err
	}
	if err := scheme.AddFieldLabelConversionFunc(imagev1.SchemeGroupVersion.WithKind("Image"), imageFieldLabel); err != nil {
		return err
	}
	for _, kind := range []string{"ImageStreamTag", "ImageTag"} {
		if err := scheme.AddFieldLabelConversionFunc(imagev1.SchemeGroupVersion.WithKind(kind), runtime.DefaultMetaV1FieldSelectorConversion); err != nil {
			return err
		}
	}
	return nil
}

func streamFieldLabel(label, value string) (string, string, error) {
	if !streamFieldLabels[label] {
		return "", "", fmt.Errorf("field label not supported: %s", label)
	}
	return label, value, nil
}

func imageFieldLabel(label, value string) (string, string, error) {
	if label != metav1.ObjectNameField {
		return "", "", fmt.Errorf("field label not supported: %s", label)
	}
	return label, value, nil
}

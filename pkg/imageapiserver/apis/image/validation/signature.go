package validation

import (
	"bytes"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"image.alauda.io/api/image/reference"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
)

const (
	// MaxSignatures is how many signatures an image may have.
	MaxSignatures = 32
	// MaxSignatureContent is how many bytes the content of a signature may have.
	MaxSignatureContent = 128 << 10
)

var conditionStatuses = []corev1.ConditionStatus{corev1.ConditionTrue, corev1.ConditionFalse, corev1.ConditionUnknown}

// EffectiveCondition returns the condition of a type that counts: the one that was probed last, the
// later one in the list of those that were probed at the same time. It is nil when there is none.
func EffectiveCondition(signature *imageapi.ImageSignature, conditionType imageapi.SignatureConditionType) *imageapi.SignatureCondition {
	var effective *imageapi.SignatureCondition
	for i := range signature.Conditions {
		condition := &signature.Conditions[i]
		if condition.Type != conditionType {
			continue
		}
		if effective == nil || !condition.LastProbeTime.Before(&effective.LastProbeTime) {
			effective = condition
		}
	}
	return effective
}

// ImageSignature checks a signature that is added by itself.
func ImageSignature(signature *imageapi.ImageSignature) field.ErrorList {
	image, _, err := reference.SplitSignature(signature.Name)
	if err != nil {
		image = ""
	}
	errs := signatureOf(image, signature, nil)
	for _, problem := range ImageName(image, false) {
		errs = append(errs, field.Invalid(field.NewPath("metadata", "name"), signature.Name, problem))
	}
	return errs
}

// signatures checks the signatures of an image, each by itself and all together.
func signatures(image *imageapi.Image, path *field.Path) field.ErrorList {
	if len(image.Signatures) > MaxSignatures {
		return field.ErrorList{field.TooMany(path, len(image.Signatures), MaxSignatures)}
	}
	var errs field.ErrorList
	names, contents := map[string]bool{}, map[string]bool{}
	for i := range image.Signatures {
		signature, at := &image.Signatures[i], path.Index(i)
		errs = append(errs, signatureOf(image.Name, signature, at)...)
		if names[signature.Name] {
			errs = append(errs, field.Duplicate(at.Child("metadata", "name"), signature.Name))
		}
		content := signature.Type + "\x00" + string(signature.Content)
		if contents[content] {
			errs = append(errs, field.Duplicate(at.Child("content"), "<content>"))
		}
		names[signature.Name], contents[content] = true, true
	}
	return errs
}

// signatureOf checks a signature of the image with a name.
func signatureOf(imageName string, signature *imageapi.ImageSignature, path *field.Path) field.ErrorList {
	errs := signatureMetadata(imageName, signature, path.Child("metadata"))
	if signature.Type == "" {
		errs = append(errs, field.Required(path.Child("type"), "name the format of the signature"))
	}
	switch size := len(signature.Content); {
	case size == 0:
		errs = append(errs, field.Required(path.Child("content"), "a signature has content"))
	case size > MaxSignatureContent:
		errs = append(errs, field.TooLong(path.Child("content"), "", MaxSignatureContent))
	}
	errs = append(errs, conditions(signature, path.Child("conditions"))...)
	return append(errs, claims(signature, path)...)
}

func signatureMetadata(imageName string, signature *imageapi.ImageSignature, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	name := path.Child("name")
	image, _, err := reference.SplitSignature(signature.Name)
	switch {
	case err != nil:
		errs = append(errs, field.Invalid(name, signature.Name, err.Error()))
	case image != imageName:
		errs = append(errs, field.Invalid(name, signature.Name, fmt.Sprintf("must begin with the name of its image, %s@", imageName)))
	}
	if len(signature.Labels) > 0 {
		errs = append(errs, field.Forbidden(path.Child("labels"), "signatures have no labels"))
	}
	if len(signature.Annotations) > 0 {
		errs = append(errs, field.Forbidden(path.Child("annotations"), "signatures have no annotations"))
	}
	return errs
}

// conditions checks that a verifier says both things or none: that the signature is to be trusted, and
// that it is a signature of this image. One without the other proves nothing, but may be taken for it.
func conditions(signature *imageapi.ImageSignature, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range signature.Conditions {
		condition, at := &signature.Conditions[i], path.Index(i)
		if condition.Type == "" {
			errs = append(errs, field.Required(at.Child("type"), "name the condition"))
		}
		if !slices.Contains(conditionStatuses, condition.Status) {
			errs = append(errs, field.NotSupported(at.Child("status"), condition.Status, conditionStatuses))
		}
	}
	trusted := EffectiveCondition(signature, imageapi.SignatureTrusted) != nil
	forImage := EffectiveCondition(signature, imageapi.SignatureForImage) != nil
	if trusted != forImage {
		errs = append(errs, field.Invalid(path, conditionTypes(signature),
			fmt.Sprintf("%s and %s must both be there or both be absent", imageapi.SignatureTrusted, imageapi.SignatureForImage)))
	}
	return errs
}

// claims checks that nothing is said about the content of a signature that nobody has judged.
func claims(signature *imageapi.ImageSignature, path *field.Path) field.ErrorList {
	trusted := EffectiveCondition(signature, imageapi.SignatureTrusted)
	if trusted != nil && trusted.Status != corev1.ConditionUnknown {
		return nil
	}
	var errs field.ErrorList
	for _, claim := range []struct {
		name string
		set  bool
	}{
		{"imageIdentity", signature.ImageIdentity != ""},
		{"signedClaims", len(signature.SignedClaims) > 0},
		{"issuedBy", signature.IssuedBy != nil},
		{"issuedTo", signature.IssuedTo != nil},
	} {
		if claim.set {
			errs = append(errs, field.Forbidden(path.Child(claim.name), fmt.Sprintf("needs a %s condition that is True or False", imageapi.SignatureTrusted)))
		}
	}
	return errs
}

// signaturesUpdate checks that a signature which stays, by its name, remains the signature it was.
func signaturesUpdate(image, old *imageapi.Image, path *field.Path) field.ErrorList {
	before := map[string]*imageapi.ImageSignature{}
	for i := range old.Signatures {
		before[old.Signatures[i].Name] = &old.Signatures[i]
	}
	var errs field.ErrorList
	for i := range image.Signatures {
		signature := &image.Signatures[i]
		was, found := before[signature.Name]
		if !found {
			continue
		}
		if signature.Type != was.Type {
			errs = append(errs, field.Invalid(path.Index(i).Child("type"), signature.Type, "cannot change: remove the signature and add another one"))
		}
		if !bytes.Equal(signature.Content, was.Content) {
			errs = append(errs, field.Invalid(path.Index(i).Child("content"), "<content>", "cannot change: remove the signature and add another one"))
		}
	}
	return errs
}

func conditionTypes(signature *imageapi.ImageSignature) []string {
	types := make([]string, 0, len(signature.Conditions))
	for i := range signature.Conditions {
		types = append(types, string(signature.Conditions[i].Type))
	}
	return types
}

package image

import (
	"slices"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/apis/image/validation"
)

// withdraw takes back what a verifier said about a signature when an update
// removes one of the two conditions that he saved: the other one falls with it,
// and so does what was read from the content. Removing a condition is the way
// to undo a verification, so it must not leave half of one behind.
func withdraw(image, old *imageapi.Image) {
	for i := range image.Signatures {
		signature := &image.Signatures[i]
		was := slices.IndexFunc(old.Signatures, func(s imageapi.ImageSignature) bool { return s.Name == signature.Name })
		if was < 0 || !removesCondition(signature, &old.Signatures[was]) {
			continue
		}
		signature.Conditions = slices.DeleteFunc(slices.Clone(signature.Conditions), func(c imageapi.SignatureCondition) bool {
			return c.Type == imageapi.SignatureTrusted || c.Type == imageapi.SignatureForImage
		})
		signature.ImageIdentity, signature.SignedClaims = "", nil
		signature.IssuedBy, signature.IssuedTo = nil, nil
	}
}

// removesCondition tells whether a signature lacks a condition of a
// verification that it had.
func removesCondition(signature, was *imageapi.ImageSignature) bool {
	for _, conditionType := range []imageapi.SignatureConditionType{imageapi.SignatureTrusted, imageapi.SignatureForImage} {
		if validation.EffectiveCondition(was, conditionType) != nil && validation.EffectiveCondition(signature, conditionType) == nil {
			return true
		}
	}
	return false
}

package apigroup

import (
	"slices"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/imageapiserver/apis/image/install"
	conversions "image.alauda.io/registry/pkg/imageapiserver/apis/image/v1"
)

// Codecs are the scheme of the group and what is derived from it.
type Codecs struct {
	Scheme *runtime.Scheme
	// Factory makes codecs. Its own media types include protobuf; servers use
	// Negotiated.
	Factory serializer.CodecFactory
	// Negotiated speaks JSON and YAML.
	Negotiated runtime.NegotiatedSerializer
	// Parameters converts query parameters.
	Parameters runtime.ParameterCodec
	// Storage encodes what is stored: JSON of image.alauda.io/v1.
	Storage runtime.Codec
}

// NewCodecs builds a scheme with the group. importMode is the import mode of
// tags that name none; nil means PreserveOriginal.
func NewCodecs(importMode conversions.ImportModeSource) (*Codecs, error) {
	scheme := runtime.NewScheme()
	if err := install.Install(scheme, importMode); err != nil {
		return nil, err
	}
	// Lists are written item by item; otherwise the answer to a list of all images would be in memory as a whole.
	factory := serializer.NewCodecFactory(scheme, serializer.WithStreamingCollectionEncodingToJSON())
	return &Codecs{
		Scheme:     scheme,
		Factory:    factory,
		Negotiated: withoutProtobuf{factory},
		Parameters: runtime.NewParameterCodec(scheme),
		Storage:    factory.LegacyCodec(imagev1.SchemeGroupVersion),
	}, nil
}

// withoutProtobuf leaves protobuf out of the media types: the types of the
// group have no protobuf form, and a client that prefers protobuf but takes
// JSON must get JSON instead of an error.
type withoutProtobuf struct {
	serializer.CodecFactory
}

// SupportedMediaTypes implements runtime.NegotiatedSerializer.
func (w withoutProtobuf) SupportedMediaTypes() []runtime.SerializerInfo {
	return slices.DeleteFunc(slices.Clone(w.CodecFactory.SupportedMediaTypes()), func(info runtime.SerializerInfo) bool {
		return info.MediaType != runtime.ContentTypeJSON && info.MediaType != runtime.ContentTypeYAML
	})
}

// EncoderForVersion implements runtime.NegotiatedSerializer.
func (w withoutProtobuf) EncoderForVersion(encoder runtime.Encoder, version runtime.GroupVersioner) runtime.Encoder {
	return w.CodecFactory.EncoderForVersion(encoder, version)
}

// DecoderToVersion implements runtime.NegotiatedSerializer.
func (w withoutProtobuf) DecoderToVersion(decoder runtime.Decoder, version runtime.GroupVersioner) runtime.Decoder {
	return w.CodecFactory.DecoderToVersion(decoder, version)
}

// groupVersion is what the group serves and stores.
func groupVersion() schema.GroupVersion { return imagev1.SchemeGroupVersion }

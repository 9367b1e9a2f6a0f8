package v1

import (
	"k8s.io/apimachinery/pkg/runtime"

	imagev1 "image.alauda.io/api/image/v1"
)

// ImportModeSource returns the import mode of tags that name none. It may
// change while the server runs; stored objects keep the mode they have.
type ImportModeSource func() imagev1.ImportModeType

// AddDefaults registers the defaults of the group. A nil source means
// PreserveOriginal.
func AddDefaults(scheme *runtime.Scheme, importMode ImportModeSource) {
	if importMode == nil {
		importMode = func() imagev1.ImportModeType { return imagev1.ImportModePreserveOriginal }
	}
	scheme.AddTypeDefaultingFunc(&imagev1.Image{}, func(obj any) { defaultImage(obj.(*imagev1.Image)) })
	scheme.AddTypeDefaultingFunc(&imagev1.ImageList{}, func(obj any) {
		list := obj.(*imagev1.ImageList)
		for i := range list.Items {
			defaultImage(&list.Items[i])
		}
	})
	scheme.AddTypeDefaultingFunc(&imagev1.ImageStreamMapping{}, func(obj any) {
		defaultImage(&obj.(*imagev1.ImageStreamMapping).Image)
	})
	scheme.AddTypeDefaultingFunc(&imagev1.ImageStream{}, func(obj any) {
		defaultStream(obj.(*imagev1.ImageStream), importMode())
	})
	scheme.AddTypeDefaultingFunc(&imagev1.ImageStreamList{}, func(obj any) {
		list, mode := obj.(*imagev1.ImageStreamList), importMode()
		for i := range list.Items {
			defaultStream(&list.Items[i], mode)
		}
	})
	scheme.AddTypeDefaultingFunc(&imagev1.ImageStreamTag{}, func(obj any) {
		defaultTag(obj.(*imagev1.ImageStreamTag).Tag, importMode())
	})
	scheme.AddTypeDefaultingFunc(&imagev1.ImageStreamTagList{}, func(obj any) {
		list, mode := obj.(*imagev1.ImageStreamTagList), importMode()
		for i := range list.Items {
			defaultTag(list.Items[i].Tag, mode)
		}
	})
}

func defaultImage(image *imagev1.Image) {
	if image.DockerImageMetadataVersion == "" {
		image.DockerImageMetadataVersion = imagev1.DockerImageMetadataVersion
	}
}

func defaultStream(stream *imagev1.ImageStream, mode imagev1.ImportModeType) {
	for i := range stream.Spec.Tags {
		defaultTag(&stream.Spec.Tags[i], mode)
	}
}

func defaultTag(tag *imagev1.TagReference, mode imagev1.ImportModeType) {
	if tag == nil {
		return
	}
	if tag.ReferencePolicy.Type == "" {
		tag.ReferencePolicy.Type = imagev1.SourceTagReferencePolicy
	}
	if tag.ImportPolicy.ImportMode == "" {
		tag.ImportPolicy.ImportMode = mode
	}
}

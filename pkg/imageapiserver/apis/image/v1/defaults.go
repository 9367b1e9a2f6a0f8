package v1

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"image.alauda.io/api/image/reference"
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
	scheme.AddTypeDefaultingFunc(&imagev1.ImageTag{}, func(obj any) {
		defaultImageTag(obj.(*imagev1.ImageTag), importMode())
	})
	scheme.AddTypeDefaultingFunc(&imagev1.ImageTagList{}, func(obj any) {
		list, mode := obj.(*imagev1.ImageTagList), importMode()
		for i := range list.Items {
			defaultImageTag(&list.Items[i], mode)
		}
	})
	scheme.AddTypeDefaultingFunc(&imagev1.ImageStreamImport{}, func(obj any) {
		defaultImport(obj.(*imagev1.ImageStreamImport), importMode())
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
	if tag != nil {
		defaultPolicies(&tag.ImportPolicy, &tag.ReferencePolicy, mode)
	}
}

func defaultImageTag(tag *imagev1.ImageTag, mode imagev1.ImportModeType) {
	defaultTag(tag.Spec, mode)
	if tag.Image != nil {
		defaultImage(tag.Image)
	}
}

func defaultPolicies(importPolicy *imagev1.TagImportPolicy, referencePolicy *imagev1.TagReferencePolicy, mode imagev1.ImportModeType) {
	if referencePolicy.Type == "" {
		referencePolicy.Type = imagev1.SourceTagReferencePolicy
	}
	if importPolicy.ImportMode == "" {
		importPolicy.ImportMode = mode
	}
}

// defaultImport also reaches into the result, so that the stream an import
// answers with carries what reading it would.
func defaultImport(request *imagev1.ImageStreamImport, mode imagev1.ImportModeType) {
	if repository := request.Spec.Repository; repository != nil {
		defaultPolicies(&repository.ImportPolicy, &repository.ReferencePolicy, mode)
	}
	for i := range request.Spec.Images {
		image := &request.Spec.Images[i]
		defaultPolicies(&image.ImportPolicy, &image.ReferencePolicy, mode)
		if image.To == nil {
			image.To = namedTag(image.From.Name)
		}
	}
	if request.Status.Import != nil {
		defaultStream(request.Status.Import, mode)
	}
	if repository := request.Status.Repository; repository != nil {
		defaultImportStatus(repository.Images)
	}
	defaultImportStatus(request.Status.Images)
}

func defaultImportStatus(results []imagev1.ImageImportStatus) {
	for i := range results {
		if results[i].Image != nil {
			defaultImage(results[i].Image)
		}
		for j := range results[i].Manifests {
			defaultImage(&results[i].Manifests[j])
		}
	}
}

// namedTag is the tag that a pull spec writes out, nil when it writes none.
func namedTag(spec string) *corev1.LocalObjectReference {
	ref, err := reference.Parse(spec)
	if err != nil || ref.Tag == "" {
		return nil
	}
	return &corev1.LocalObjectReference{Name: ref.Tag}
}

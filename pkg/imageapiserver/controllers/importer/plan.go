package importer

import (
	imagev1 "image.alauda.io/api/image/v1"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/history"
	"image.alauda.io/registry/pkg/imageapiserver/imagestreamimport/apply"
	engine "image.alauda.io/registry/pkg/imageapiserver/importer"
)

// plan is an import of parts of one stream: what to ask the engine for, and what each answer is for.
type plan struct {
	stream *imageapi.ImageStream
	// tags are the tags of Request.Items, in the same order.
	tags []imageapi.TagReference
	// Request goes to the engine. Its credentials are filled in when it is sent.
	Request engine.Request
}

// planOf builds the plan for a part of a stream. A scheduled plan asks first whether anything has changed.
func planOf(stream *imageapi.ImageStream, work Work, scheduled bool) plan {
	p := plan{stream: stream, Request: engine.Request{
		Tenant:         stream.Namespace,
		StreamInsecure: stream.Annotations[imagev1.InsecureRepositoryAnnotation] == "true",
		ItemTimeout:    engine.DefaultItemTimeout,
		Scheduled:      scheduled,
	}}
	for _, name := range work.Tags {
		tag := stream.Spec.Tags[name]
		tag.Name = name
		item := engine.Item{From: tag.From.Name, Policy: policyOf(tag)}
		if scheduled {
			item.LastDigest = lastDigest(stream, tag)
		}
		p.tags = append(p.tags, tag)
		p.Request.Items = append(p.Request.Items, item)
	}
	if work.Repository {
		p.Request.Repository = repositoryItemOf(stream)
	}
	return p
}

// outcomes says for each answer what it is for. A tag for which the stream names a source of its own is not
// taken from the repository of the stream.
func (p plan) outcomes(result engine.Result) []apply.Outcome {
	var outcomes []apply.Outcome
	for i, item := range result.Items {
		tag := p.tags[i]
		outcomes = append(outcomes, apply.Outcome{
			Tag: tag.Name, From: tag.From.Name, ImportPolicy: tag.ImportPolicy, ReferencePolicy: tag.ReferencePolicy, Result: item,
		})
	}
	if result.Repository == nil {
		return outcomes
	}
	for _, item := range result.Repository.Tags {
		source := p.stream.Spec.DockerImageRepository + ":" + item.Tag
		tag := p.stream.Spec.Tags[item.Tag]
		if tag.From != nil && (tag.From.Kind != imagev1.KindDockerImage || tag.From.Name != source) {
			continue
		}
		outcomes = append(outcomes, apply.Outcome{
			Tag: item.Tag, From: source, ImportPolicy: tag.ImportPolicy, ReferencePolicy: tag.ReferencePolicy, Result: item,
		})
	}
	return outcomes
}

func policyOf(tag imageapi.TagReference) engine.Policy {
	return engine.Policy{
		Insecure:   tag.ImportPolicy.Insecure,
		ImportMode: tag.ImportPolicy.ImportMode,
		Platform:   platformOf(tag),
	}
}

func platformOf(tag imageapi.TagReference) engine.Platform {
	return engine.Platform{
		Arch: tag.Annotations[imagev1.ImporterPreferArchAnnotation],
		OS:   tag.Annotations[imagev1.ImporterPreferOSAnnotation],
	}
}

// lastDigest is the image that the registry is compared with. There is none when the tag was changed since,
// or when a failed import stands, which only a complete import takes back.
func lastDigest(stream *imageapi.ImageStream, tag imageapi.TagReference) string {
	head, found := history.Head(stream, tag.Name)
	if !found || tag.Generation == nil || head.Generation != *tag.Generation || failed(stream, tag.Name) != nil {
		return ""
	}
	return head.Image
}

func repositoryItemOf(stream *imageapi.ImageStream) *engine.RepositoryItem {
	item := &engine.RepositoryItem{From: stream.Spec.DockerImageRepository, Platforms: map[string]engine.Platform{}}
	for name, tag := range stream.Spec.Tags {
		if platform := platformOf(tag); platform != (engine.Platform{}) {
			item.Platforms[name] = platform
		}
	}
	return item
}

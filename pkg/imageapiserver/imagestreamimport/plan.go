package imagestreamimport

import (
	"image.alauda.io/api/image/reference"
	imagev1 "image.alauda.io/api/image/v1"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/imagestreamimport/apply"
	"image.alauda.io/registry/pkg/imageapiserver/importer"
)

// plan is one request on its way: what the importer is asked, and what it says.
type plan struct {
	spec     *imageapi.ImageStreamImportSpec
	request  importer.Request
	outcomes []apply.Outcome
	// repository is what was found of the repository, nil when none was asked
	// for. Its tags are the outcomes behind those of the single images.
	repository *importer.RepositoryResult
}

// newPlan makes the request to the importer. Preferences of platforms stand on
// the tags that are imported into.
func newPlan(request *imageapi.ImageStreamImport, basis *imageapi.ImageStream) *plan {
	p := &plan{spec: &request.Spec}
	if basis == nil {
		basis = &imageapi.ImageStream{}
	}
	p.request.Tenant = request.Namespace
	p.request.StreamInsecure = basis.Annotations[imagev1.InsecureRepositoryAnnotation] == "true"
	for i := range p.spec.Images {
		image := &p.spec.Images[i]
		item := importer.Item{From: image.From.Name, Policy: policyOf(image.ImportPolicy, image.IncludeManifest)}
		if image.To != nil {
			item.Platform = platformOf(basis.Spec.Tags[image.To.Name])
		}
		p.request.Items = append(p.request.Items, item)
	}
	if repository := p.spec.Repository; repository != nil {
		p.request.Repository = &importer.RepositoryItem{
			From:      repository.From.Name,
			Policy:    policyOf(repository.ImportPolicy, repository.IncludeManifest),
			Platforms: map[string]importer.Platform{},
		}
		for name, tag := range basis.Spec.Tags {
			if platform := platformOf(tag); platform != (importer.Platform{}) {
				p.request.Repository.Platforms[name] = platform
			}
		}
	}
	return p
}

func policyOf(policy imageapi.TagImportPolicy, includeManifest bool) importer.Policy {
	return importer.Policy{Insecure: policy.Insecure, ImportMode: policy.ImportMode, IncludeManifest: includeManifest}
}

func platformOf(tag imageapi.TagReference) importer.Platform {
	return importer.Platform{
		Arch: tag.Annotations[imagev1.ImporterPreferArchAnnotation],
		OS:   tag.Annotations[imagev1.ImporterPreferOSAnnotation],
	}
}

// take turns the answer of the importer into outcomes for the stream.
func (p *plan) take(result importer.Result) {
	for i := range p.spec.Images {
		image := &p.spec.Images[i]
		outcome := apply.Outcome{
			From: image.From.Name, ImportPolicy: image.ImportPolicy, ReferencePolicy: image.ReferencePolicy,
			CreateTag: true, Result: result.Items[i],
		}
		if image.To != nil {
			outcome.Tag = image.To.Name
		}
		p.outcomes = append(p.outcomes, outcome)
	}
	if p.repository = result.Repository; p.repository == nil {
		return
	}
	for _, found := range p.repository.Tags {
		from, tag, ok := tagOf(p.spec.Repository.From.Name, found.Tag)
		if !ok {
			continue // The names come from the registry; what is no tag cannot be one of the stream.
		}
		p.outcomes = append(p.outcomes, apply.Outcome{
			Tag: tag, From: from, ImportPolicy: p.spec.Repository.ImportPolicy,
			ReferencePolicy: p.spec.Repository.ReferencePolicy, Result: found,
		})
	}
}

// tagOf is the pull spec of a tag of a repository.
func tagOf(repository, tag string) (from, name string, ok bool) {
	ref, err := reference.Parse(repository)
	if err != nil || reference.ValidateTag(tag) != nil {
		return "", "", false
	}
	ref.Tag, ref.ID = tag, ""
	return ref.Exact(), tag, true
}

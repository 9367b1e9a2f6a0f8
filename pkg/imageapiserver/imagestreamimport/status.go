package imagestreamimport

import (
	"fmt"
	"net/http"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/imagestreamimport/apply"
	"image.alauda.io/registry/pkg/imageapiserver/importer"
)

// status is the answer to the request.
func (p *plan) status(report apply.Report) imageapi.ImageStreamImportStatus {
	status := imageapi.ImageStreamImportStatus{Import: report.Stream}
	goesOn := report.Stream != nil
	single := len(p.spec.Images)
	for i, result := range report.Results {
		outcome := &p.outcomes[i]
		answer := imageStatus(outcome, result, goesOn)
		if i < single {
			status.Images = append(status.Images, answer)
			continue
		}
		if status.Repository == nil {
			status.Repository = &imageapi.RepositoryImportStatus{}
		}
		status.Repository.Images = append(status.Repository.Images, answer)
	}
	if p.repository == nil {
		return status
	}
	if status.Repository == nil {
		status.Repository = &imageapi.RepositoryImportStatus{}
	}
	status.Repository.AdditionalTags = p.repository.AdditionalTags
	status.Repository.Status = metav1.Status{Status: metav1.StatusSuccess}
	// What was found and could not be recorded counts as failed, too.
	reported := importer.RepositoryResult{Err: p.repository.Err, Tags: report.Results[single:]}
	if err := reported.Summary(); err != nil {
		status.Repository.Status = err.Status()
	}
	return status
}

// imageStatus is the answer for one image. goesOn tells that what is not
// finished is imported in the background.
func imageStatus(outcome *apply.Outcome, result importer.ItemResult, goesOn bool) imageapi.ImageImportStatus {
	status := imageapi.ImageImportStatus{Tag: result.Tag}
	if status.Tag == "" {
		status.Tag = outcome.Tag
	}
	switch {
	case result.Err != nil:
		status.Status = result.Err.Status()
		if result.Unfinished && goesOn && outcome.Tag != "" {
			status.Status.Message = fmt.Sprintf("the import of %s continues in the background", outcome.From)
		}
	case result.Image == nil:
		status.Status = (&importer.Error{
			Reason: metav1.StatusReasonInternalError, Code: http.StatusInternalServerError, Message: "the import ended without image and without error",
		}).Status()
	default:
		status.Status = metav1.Status{Status: metav1.StatusSuccess, Message: result.Note}
		status.Image = result.Image
		for _, child := range result.Children {
			status.Manifests = append(status.Manifests, *child)
		}
	}
	return status
}

package audit

import (
	"net/http"
	"time"

	"image.alauda.io/registry/pkg/registry/route"
)

// Operation is what was done, as the audit log names it.
type Operation string

// The operations. Those after WriteSignature appear only when they were denied, but for the
// ones of administrators.
const (
	PushManifest   Operation = "push-manifest"
	PullManifest   Operation = "pull-manifest"
	DeleteManifest Operation = "delete-manifest"
	DeleteTag      Operation = "delete-tag"
	PushBlob       Operation = "push-blob"
	PullBlob       Operation = "pull-blob"
	DeleteBlob     Operation = "delete-blob"
	MountBlob      Operation = "mount-blob"
	CreateStream   Operation = "create-imagestream"
	WriteSignature Operation = "write-signature"

	AdminDeleteBlob Operation = "admin-delete-blob"
	AdminCollect    Operation = "admin-collect"
	AdminReport     Operation = "admin-collection-report"

	ReadSignatures Operation = "read-signatures"
	ListTags       Operation = "list-tags"
	ListReferrers  Operation = "list-referrers"
	ListCatalog    Operation = "list-repositories"
	ReadMetrics    Operation = "read-metrics"
	Login          Operation = "login"
)

// statusClientGone stands for an answer that nobody read.
const statusClientGone = 499

// Records decides what of a request is written down.
func Records(e Exchange, now time.Time) []Record {
	operation, always := classify(e)
	denied := e.Credentials && (e.Outcome.Status == http.StatusUnauthorized || e.Outcome.Status == http.StatusForbidden)
	if operation == "" || !always && !denied || e.Outcome.Status == http.StatusUnauthorized && !e.Credentials {
		return nil
	}
	record := e.record(operation, now)
	if !e.Outcome.CreatedStream {
		return []Record{record}
	}
	created := e.record(CreateStream, now)
	created.Tag, created.Digest, created.From = "", "", ""
	created.Result, created.Error, created.Code = Success, "", ""
	return []Record{created, record}
}

func (e Exchange) record(operation Operation, now time.Time) Record {
	record := Record{
		Time: now.UTC(), Audit: true, RequestID: e.ID,
		User: e.Caller.User, UID: e.Caller.UID, Groups: e.Caller.Groups, Remote: e.Caller.Remote,
		Operation: operation, Repo: e.Route.Name.String(), Tag: e.Route.Tag, Digest: e.digest(operation), Result: Success,
	}
	if operation == MountBlob {
		record.From = e.Upload.From
	}
	if e.Outcome.Status >= http.StatusBadRequest {
		record.Result, record.Error, record.Code = Failure, e.Outcome.Message, e.Outcome.Code
		if e.Outcome.Status == statusClientGone {
			record.Error = "the connection was closed before the end"
		}
	}
	return record
}

// digest is what the operation was about: what the client named, else what it was told.
func (e Exchange) digest(operation Operation) string {
	named := e.Route.Digest.String()
	switch {
	case named != "":
		return named
	case operation == MountBlob:
		return e.Upload.Mount
	case operation == PushBlob:
		return e.Upload.Digest
	}
	return e.Outcome.Digest
}

// classify names the operation of a request, and whether it is written down although it
// was not denied.
func classify(e Exchange) (operation Operation, always bool) {
	read := e.Method == http.MethodGet
	switch e.Route.Kind {
	case route.Manifest:
		switch {
		case e.Method == http.MethodPut:
			return PushManifest, true
		case e.Method == http.MethodDelete && e.Route.Tag != "":
			return DeleteTag, true
		case e.Method == http.MethodDelete:
			return DeleteManifest, true
		}
		return PullManifest, read
	case route.Blob:
		if e.Method == http.MethodDelete {
			return DeleteBlob, true
		}
		return PullBlob, read
	case route.UploadStart, route.Upload:
		return upload(e)
	case route.Signatures:
		if e.Method == http.MethodPut {
			return WriteSignature, true
		}
		return ReadSignatures, false
	}
	return others(e.Route.Kind)
}

// upload tells the requests that finish a blob, or fail to, from those on the way there.
func upload(e Exchange) (Operation, bool) {
	created := e.Outcome.Status == http.StatusCreated
	switch {
	case e.Route.Kind == route.UploadStart && e.Upload.Mount != "" && created:
		return MountBlob, true
	case e.Route.Kind == route.UploadStart:
		return PushBlob, e.Upload.Digest != "" && e.Outcome.Status != http.StatusAccepted
	}
	return PushBlob, e.Method == http.MethodPut
}

func others(kind route.Kind) (Operation, bool) {
	switch kind {
	case route.AdminBlob:
		return AdminDeleteBlob, true
	case route.AdminGC:
		return AdminCollect, true
	case route.AdminGCReport:
		return AdminReport, false
	case route.Tags:
		return ListTags, false
	case route.Referrers:
		return ListReferrers, false
	case route.Catalog:
		return ListCatalog, false
	case route.Metrics:
		return ReadMetrics, false
	case route.Base, route.Token:
		return Login, false
	}
	return "", false
}

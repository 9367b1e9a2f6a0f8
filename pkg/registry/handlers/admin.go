package handlers

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"image.alauda.io/registry/pkg/registry/apierror"
	"image.alauda.io/registry/pkg/registry/gc/online"
	"image.alauda.io/registry/pkg/registry/route"
	"image.alauda.io/registry/pkg/registry/store"
)

const (
	collectionsPath   = "/admin/gc/"
	maxCollectionBody = 4 << 10
)

// adminDeed names what a pull credential cannot do.
func adminDeed(matched route.Route) string {
	if matched.Kind == route.AdminBlob {
		return "delete"
	}
	return "collect garbage"
}

// startCollection answers POST /admin/gc.
func (h *Handlers) startCollection(req *request) error {
	task, err := h.collectionTask(req.Body)
	if err != nil {
		return err
	}
	if h.Options.ReadOnly && !task.DryRun {
		return readOnly()
	}
	report, err := h.Collections.Start(req.Context(), task)
	var running *online.RunningError
	switch {
	case errors.As(err, &running):
		return apierror.New(http.StatusConflict, apierror.CodeUnsupported, "a collection is running").
			WithDetail(map[string]string{"id": running.ID}).WithHeader("Location", h.location(req, collectionsPath+running.ID))
	case errors.Is(err, online.ErrEnding):
		return apierror.Unavailable(err, "this replica of the registry is shutting down, try again")
	case err != nil:
		return apierror.Unavailable(err, "the lease of the collection cannot be written, try again")
	}
	req.w.Header().Set("Location", h.location(req, collectionsPath+report.ID))
	return writeJSON(req, http.StatusAccepted, "application/json", report)
}

// collectionTask reads the body: nothing, or an object. Its members are told apart by
// their exact names, so that no other spelling makes a dry run real.
func (h *Handlers) collectionTask(body io.Reader) (online.Task, error) {
	task := online.Task{DryRun: true, MinAge: h.CollectionAge}
	raw, err := io.ReadAll(io.LimitReader(body, maxCollectionBody+1))
	if err != nil {
		return task, fmt.Errorf("%w: %w", ErrClientGone, err)
	}
	if len(raw) > maxCollectionBody {
		return task, badParameter("the body is larger than %d bytes", maxCollectionBody)
	}
	if len(bytes.TrimSpace(raw)) == 0 {
		return task, nil
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(raw, &members); err != nil || members == nil {
		return task, badParameter("the body is not a JSON object")
	}
	var minAge *string
	for name, value := range map[string]any{"dryRun": &task.DryRun, "allowEmptyMetadata": &task.AllowEmptyMetadata, "minAge": &minAge} {
		if member, found := members[name]; found && json.Unmarshal(member, value) != nil {
			return task, badParameter("%s has a value of the wrong type", name)
		}
	}
	if minAge == nil {
		return task, nil
	}
	if task.MinAge, err = time.ParseDuration(*minAge); err != nil {
		return task, badParameter("minAge is not a duration like 2h30m")
	}
	if task.MinAge < store.MinimumAge {
		return task, badParameter("minAge must be %s at least: pushes rely on content that they found", store.MinimumAge)
	}
	return task, nil
}

// collectionReport answers GET /admin/gc/<id>.
func (h *Handlers) collectionReport(req *request) error {
	report, err := h.Collections.Report(req.Context(), req.route.CollectionID)
	var damaged *online.DamagedError
	switch {
	case errors.Is(err, online.ErrUnknown):
		return apierror.New(http.StatusNotFound, apierror.CodeUnsupported, "%s", err)
	case errors.As(err, &damaged):
		return apierror.New(http.StatusInternalServerError, apierror.CodeUnknown, "%s; the next collection replaces it", damaged).WithCause(err)
	case err != nil:
		return apierror.Unavailable(err, "the lease of the collection cannot be read, try again")
	}
	req.w.Header().Set("Cache-Control", "no-store")
	return writeJSON(req, http.StatusOK, "application/json", report)
}

func badParameter(format string, args ...any) error {
	return apierror.New(http.StatusBadRequest, apierror.CodeUnsupported, format, args...)
}

// deleteStored answers DELETE /admin/blobs/<digest>: the bytes go for all repositories.
func (h *Handlers) deleteStored(req *request) error {
	age := h.CollectionAge
	switch force := req.URL.Query().Get("force"); force {
	case "", "false":
	case "true":
		age = store.MinimumAge
	default:
		return badParameter("force must be true or false")
	}
	deletion, err := h.Store.DeleteBlob(req.Context(), req.route.Digest, age)
	if err != nil {
		return err
	}
	if deletion.Outcome == store.Refused {
		return apierror.New(http.StatusConflict, apierror.CodeUnsupported, "blob %s must stay: %s", deletion.Digest, deletion.Reason)
	}
	return empty(req, http.StatusNoContent)
}

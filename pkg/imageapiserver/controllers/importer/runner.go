package importer

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/klog/v2"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/imagestreamimport/apply"
	engine "image.alauda.io/registry/pkg/imageapiserver/importer"
	"image.alauda.io/registry/pkg/oci/remote/keyring"
)

// ServerUser is the identity with which controllers write.
const ServerUser = "system:serviceaccount:image-registry-system:image-api-server"

// streamTimeout bounds the import of one stream, however many tags it has.
const streamTimeout = 10 * time.Minute

// Streams reads image streams of the namespace in ctx, as they are stored at the moment.
type Streams interface {
	Find(ctx context.Context, name string) (*imageapi.ImageStream, error)
}

// Applier records what was found in a stream. Failures that repeat write nothing.
type Applier interface {
	Apply(ctx context.Context, req apply.Request) (apply.Report, error)
}

// Keyrings finds the credentials that imports into a namespace may use.
type Keyrings interface {
	Keyring(ctx context.Context, namespace string) (*keyring.Keyring, error)
}

// Runner imports parts of one stream at a time. It serves the controller of this package and the scheduled
// imports, and may be used by many goroutines.
type Runner struct {
	Streams  Streams
	Engine   engine.Interface
	Keyrings Keyrings
	Applier  Applier
	// Failures, if set, is told about every import and what of it failed.
	Failures func(ctx context.Context, outcome Outcome)
}

// Validate tells what is missing.
func (r *Runner) Validate() error {
	if r.Streams == nil || r.Engine == nil || r.Keyrings == nil || r.Applier == nil {
		return errors.New("image import: streams, engine, keyrings and applier must be set")
	}
	return nil
}

// Request asks for an import.
type Request struct {
	Namespace, Name string
	// UID, when set, is that of the stream; another stream of the same name is left alone.
	UID types.UID
	// Choose says what to import of the stream as it is now.
	Choose func(stream *imageapi.ImageStream) Work
	// Scheduled says that the time has come and not that the spec asks for it.
	Scheduled bool
}

// Outcome is the result of an import.
type Outcome struct {
	// Stream is the stream after the import; nil when it is gone.
	Stream *imageapi.ImageStream
	// Work is what was imported.
	Work Work
	// Failures are the items that failed.
	Failures []Failure
}

// Run imports what the request chooses. Items that fail are part of the outcome; an error says that the
// outcome could not be found or not be recorded.
func (r *Runner) Run(ctx context.Context, req Request) (Outcome, error) {
	ctx = ServerContext(ctx, req.Namespace)
	stream, err := r.Streams.Find(ctx, req.Name)
	if apierrors.IsNotFound(err) || err == nil && req.UID != "" && stream.UID != req.UID {
		return Outcome{}, nil
	}
	if err != nil {
		return Outcome{}, fmt.Errorf("image stream %s/%s: %w", req.Namespace, req.Name, err)
	}
	outcome := Outcome{Stream: stream, Work: req.Choose(stream)}
	if outcome.Work.Empty() || stream.DeletionTimestamp != nil {
		outcome.Work = Work{}
		return outcome, nil
	}
	return r.importWork(ctx, stream, outcome.Work, req.Scheduled)
}

func (r *Runner) importWork(ctx context.Context, stream *imageapi.ImageStream, work Work, scheduled bool) (Outcome, error) {
	keys, err := r.Keyrings.Keyring(ctx, stream.Namespace)
	if err != nil {
		return Outcome{}, fmt.Errorf("import into %s/%s: pull secrets: %w", stream.Namespace, stream.Name, err)
	}
	plan := planOf(stream, work, scheduled)
	plan.Request.Keyring = keys
	bounded, cancel := context.WithTimeout(ctx, streamTimeout)
	result := r.Engine.Import(bounded, plan.Request)
	cancel()
	// Whoever lost the lease while it waited leaves the rest to the next leader.
	if err := ctx.Err(); err != nil {
		return Outcome{}, fmt.Errorf("import into %s/%s: %w", stream.Namespace, stream.Name, err)
	}
	outcomes := plan.outcomes(result)
	report, err := r.Applier.Apply(ctx, apply.Request{
		Namespace: stream.Namespace, Name: stream.Name, Basis: stream, Outcomes: outcomes, Background: true,
	})
	if apierrors.IsNotFound(err) {
		return Outcome{}, nil
	}
	if err != nil {
		return Outcome{}, fmt.Errorf("import into %s/%s: %w", stream.Namespace, stream.Name, err)
	}
	logWrites(ctx, stream, report.Stream, scheduled)
	outcome := Outcome{Stream: report.Stream, Work: work, Failures: failuresOf(outcomes, report.Results, result.Repository)}
	if r.Failures != nil {
		r.Failures(ctx, outcome)
	}
	return outcome, nil
}

// failuresOf collects what failed, in the words of the report.
func failuresOf(outcomes []apply.Outcome, reported []engine.ItemResult, repository *engine.RepositoryResult) []Failure {
	var failures []Failure
	for i, result := range reported {
		if result.Err != nil {
			failures = append(failures, failureOf(outcomes[i].Tag, result.Err, result.Unfinished))
		}
	}
	if repository != nil && repository.Err != nil {
		failures = append(failures, failureOf(repositoryItem, repository.Err, repository.Unfinished))
	}
	return failures
}

func failureOf(item string, err *engine.Error, unfinished bool) Failure {
	return Failure{
		Tag: item, Reason: err.Reason, Message: err.Message, RetryAfter: err.RetryAfter,
		Transient: err.Transient || unfinished, Dropped: err.Reason == metav1.StatusReasonConflict,
	}
}

// logWrites logs what an import changed: writes of this process do not pass the audit log of the API.
func logWrites(ctx context.Context, before, after *imageapi.ImageStream, scheduled bool) {
	logger := klog.FromContext(ctx).V(2)
	if !logger.Enabled() || after == nil || before.ResourceVersion == after.ResourceVersion {
		return
	}
	for tag, list := range after.Status.Tags {
		if len(list.Items) == 0 {
			continue
		}
		if old := before.Status.Tags[tag].Items; len(old) > 0 && old[0].Image == list.Items[0].Image {
			continue
		}
		logger.Info("Image imported", "namespace", after.Namespace, "stream", after.Name, "tag", tag,
			"digest", list.Items[0].Image, "scheduled", scheduled)
	}
}

// ServerContext is the context of work of the server itself in a namespace.
func ServerContext(ctx context.Context, namespace string) context.Context {
	return request.WithUser(request.WithNamespace(ctx, namespace), &user.DefaultInfo{
		Name:   ServerUser,
		Groups: []string{"system:serviceaccounts", "system:serviceaccounts:image-registry-system", user.AllAuthenticated},
	})
}

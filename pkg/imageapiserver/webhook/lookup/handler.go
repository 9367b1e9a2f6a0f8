package lookup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net"
	"net/http"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
	"k8s.io/utils/ptr"
)

// Path is where the webhook is served.
const Path = "/admission/image-lookup"

// Results of requests, as the metric counts them.
const (
	resultResolved   = "resolved"
	resultUnchanged  = "unchanged"
	resultDisabled   = "disabled"
	resultRefused    = "refused"
	resultOverloaded = "overloaded"
	resultNotReady   = "not_ready"
)

// Options are what the webhook needs.
type Options struct {
	// Streams are the streams of the cluster.
	Streams Streams
	// Synced tells whether all of them are known.
	Synced func() bool
	// Enabled tells whether names are resolved at all; asked for each request.
	Enabled func() bool
}

// Validate tells what is missing.
func (o Options) Validate() error {
	if o.Streams == nil || o.Synced == nil || o.Enabled == nil {
		return errors.New("image lookup: Streams, Synced and Enabled must be set")
	}
	return nil
}

// decoders is how many bodies are decoded at a time. That takes a multiple of their text, and no longer than
// a processor has to do with it.
const decoders = 4

type handler struct {
	Options
	memory   *memory
	decoding chan struct{}
}

func newHandler(options Options) *handler {
	return &handler{Options: options, memory: newMemory(memoryForBodies, memoryOfSource), decoding: make(chan struct{}, decoders)}
}

// NewHandler serves Path and nothing else.
func NewHandler(options Options) (http.Handler, error) {
	if err := options.Validate(); err != nil {
		return nil, err
	}
	registerMetrics()
	h := newHandler(options)
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+Path, h.serve)
	return mux, nil
}

// failure is an answer that is no review: kube-apiserver goes on as if there were no webhook.
type failure struct {
	code   int
	result string
	err    error
}

func (h *handler) serve(w http.ResponseWriter, r *http.Request) {
	body, release, failed := h.read(w, r)
	defer release()
	var answer *admissionv1.AdmissionReview
	var result string
	if failed == nil {
		answer, result, failed = h.inTurn(r.Context(), body)
	}
	if failed != nil {
		requests.WithLabelValues(failed.result).Inc()
		http.Error(w, failed.err.Error(), failed.code)
		return
	}
	requests.WithLabelValues(result).Inc()
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		klog.FromContext(r.Context()).V(4).Info("The answer about an image lookup was not taken", "err", err)
	}
}

// read takes the body into memory. The release is to be called when the body is no longer needed.
func (h *handler) read(w http.ResponseWriter, r *http.Request) ([]byte, func(), *failure) {
	mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || mediaType != "application/json" {
		return nil, func() {}, &failure{http.StatusUnsupportedMediaType, resultRefused, errors.New("want application/json")}
	}
	source, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		source = r.RemoteAddr
	}
	body, release, err := h.memory.read(source, http.MaxBytesReader(w, r.Body, maxBody), r.ContentLength)
	var tooLarge *http.MaxBytesError
	switch {
	case err == nil:
		return body, release, nil
	case errors.Is(err, errNoMemory):
		return nil, release, &failure{http.StatusServiceUnavailable, resultOverloaded, err}
	case errors.As(err, &tooLarge):
		return nil, release, &failure{http.StatusRequestEntityTooLarge, resultRefused, err}
	}
	return nil, release, &failure{http.StatusBadRequest, resultRefused, errors.New("the body could not be read")}
}

// inTurn answers an AdmissionReview as one of few at a time.
func (h *handler) inTurn(ctx context.Context, body []byte) (*admissionv1.AdmissionReview, string, *failure) {
	select {
	case h.decoding <- struct{}{}:
		defer func() { <-h.decoding }()
		return h.review(body)
	case <-ctx.Done():
		return nil, "", &failure{http.StatusServiceUnavailable, resultOverloaded, ctx.Err()}
	}
}

// review answers an AdmissionReview.
func (h *handler) review(body []byte) (*admissionv1.AdmissionReview, string, *failure) {
	var review admissionReview
	if err := json.Unmarshal(body, &review); err != nil {
		return nil, "", &failure{http.StatusBadRequest, resultRefused, fmt.Errorf("the review cannot be read: %w", err)}
	}
	if review.Kind != "AdmissionReview" || review.APIVersion != admissionv1.SchemeGroupVersion.String() || review.Request == nil {
		return nil, "", &failure{http.StatusBadRequest, resultRefused, errors.New("want an AdmissionReview of admission.k8s.io/v1 with a request")}
	}
	answer := &admissionv1.AdmissionReview{
		TypeMeta: review.TypeMeta,
		Response: &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: true},
	}
	if !h.Enabled() {
		return answer, resultDisabled, nil
	}
	if !h.Synced() {
		return nil, "", &failure{http.StatusServiceUnavailable, resultNotReady, errors.New("the image streams are not known yet")}
	}
	changes, warnings, err := h.decide(review.Request)
	if err != nil {
		return nil, "", &failure{http.StatusBadRequest, resultRefused, err}
	}
	answer.Response.Warnings = warnings
	if len(changes) == 0 {
		return answer, resultUnchanged, nil
	}
	patch, err := json.Marshal(operations(changes))
	if err != nil {
		return nil, "", &failure{http.StatusInternalServerError, resultRefused, fmt.Errorf("patch: %w", err)}
	}
	answer.Response.Patch, answer.Response.PatchType = patch, ptr.To(admissionv1.PatchTypeJSONPatch)
	return answer, resultResolved, nil
}

// decide finds what a request has to be changed in. A request about something else is none of our business.
func (h *handler) decide(request *question) ([]replacement, []string, error) {
	resource := metav1.GroupResource{Group: request.Resource.Group, Resource: request.Resource.Resource}
	shape, known := shapes[resource]
	ephemeral := resource.Resource == "pods" && request.SubResource == "ephemeralcontainers"
	if !known || request.Resource.Version != "v1" || request.SubResource != "" && !ephemeral || request.Namespace == "" {
		return nil, nil, nil
	}
	update := request.Operation == admissionv1.Update
	// The template of a Job cannot be changed once it exists.
	if !update && request.Operation != admissionv1.Create || update && resource.Resource == "jobs" {
		return nil, nil, nil
	}
	current, err := parse(shape, request.Object)
	if err != nil {
		return nil, nil, err
	}
	var old *object
	if update {
		before, err := parse(shape, request.OldObject)
		if err != nil {
			return nil, nil, err
		}
		old = &before
		if shape == isPod {
			current = current.changeable(ephemeral, before)
		}
	}
	changes, warnings := resolve(h.Streams, request.Namespace, current, old)
	return changes, warnings, nil
}

// operation is one of a JSON patch.
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value string `json:"value"`
}

func operations(changes []replacement) []operation {
	all := make([]operation, len(changes))
	for i, change := range changes {
		all[i] = operation{"replace", change.pointer, change.image}
	}
	return all
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/registry/imageapi/imageapitest"
	"image.alauda.io/registry/pkg/registry/route"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
)

// apiServer answers what the registry asks of kube-apiserver: reviews, which all end well for the token
// of the benchmark, and the image API, kept in memory. It is HTTP and JSON like the real one.
type apiServer struct {
	api *imageapitest.API
	mux *http.ServeMux

	// mu orders changes and their events.
	mu      sync.Mutex
	changed chan struct{}
	events  []streamEvent
	last    int
}

type streamEvent struct {
	version int
	raw     []byte
}

const imageGroup = "/apis/image.alauda.io/v1/"

func newAPIServer(serverAddr string) *apiServer {
	s := &apiServer{api: imageapitest.New(serverAddr, time.Now), mux: http.NewServeMux(), changed: make(chan struct{})}
	s.api.AddNamespace(benchNamespace)
	s.mux.HandleFunc("GET /", func(http.ResponseWriter, *http.Request) {})
	s.mux.HandleFunc("POST /apis/authentication.k8s.io/v1/tokenreviews", reviewToken)
	s.mux.HandleFunc("POST /apis/authorization.k8s.io/v1/subjectaccessreviews", reviewAccess)
	s.mux.HandleFunc("POST /seed", s.seed)
	for resource, kind := range map[string]string{"limitranges": "LimitRangeList", "resourcequotas": "ResourceQuotaList"} {
		s.mux.HandleFunc("GET /api/v1/namespaces/{namespace}/"+resource, func(w http.ResponseWriter, _ *http.Request) {
			reply(w, map[string]any{"apiVersion": "v1", "kind": kind, "metadata": map[string]any{"resourceVersion": "1"}, "items": []any{}}, nil)
		})
	}
	streams := imageGroup + "namespaces/{namespace}/imagestreams"
	s.mux.HandleFunc("GET "+imageGroup+"imagestreams", s.listStreams)
	s.mux.HandleFunc("POST "+streams, s.createStream)
	s.mux.HandleFunc("GET "+streams+"/{name}", s.getStream)
	s.mux.HandleFunc("GET "+streams+"/{name}/layers", s.getLayers)
	s.mux.HandleFunc("GET "+streams+"/{name}/secrets", func(w http.ResponseWriter, _ *http.Request) { reply(w, &corev1.SecretList{}, nil) })
	s.mux.HandleFunc("PUT "+streams+"/{name}/status", s.updateStatus)
	s.mux.HandleFunc("POST "+imageGroup+"namespaces/{namespace}/imagestreammappings", s.createMapping)
	s.mux.HandleFunc("GET "+imageGroup+"images/{name}", s.getImage)
	s.mux.HandleFunc("POST "+imageGroup+"images", s.createImage)
	return s
}

// ServeHTTP implements http.Handler.
func (s *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

func reply(w http.ResponseWriter, object any, err error) {
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		var status apierrors.APIStatus
		if !errors.As(err, &status) {
			status = apierrors.NewInternalError(err)
		}
		answer := status.Status()
		answer.APIVersion, answer.Kind = "v1", "Status"
		w.WriteHeader(int(answer.Code))
		object = &answer
	}
	_ = json.NewEncoder(w).Encode(object) // the client notices
}

func read[T any](w http.ResponseWriter, r *http.Request) (*T, bool) {
	object := new(T)
	if err := json.NewDecoder(r.Body).Decode(object); err != nil {
		reply(w, nil, apierrors.NewBadRequest(err.Error()))
		return nil, false
	}
	return object, true
}

// readReview reads what the client of Kubernetes' own types sends: protobuf, if it likes.
func readReview(w http.ResponseWriter, r *http.Request, review runtime.Object) bool {
	raw, err := io.ReadAll(r.Body)
	if err == nil {
		_, _, err = scheme.Codecs.UniversalDeserializer().Decode(raw, nil, review)
	}
	if err != nil {
		reply(w, nil, apierrors.NewBadRequest(err.Error()))
	}
	return err == nil
}

func reviewToken(w http.ResponseWriter, r *http.Request) {
	review := &authenticationv1.TokenReview{}
	if !readReview(w, r, review) {
		return
	}
	review.APIVersion, review.Kind = "authentication.k8s.io/v1", "TokenReview"
	if review.Spec.Token == benchToken {
		review.Status = authenticationv1.TokenReviewStatus{Authenticated: true, Audiences: review.Spec.Audiences, User: authenticationv1.UserInfo{
			Username: "system:serviceaccount:" + benchNamespace + ":builder", UID: "1",
			Groups: []string{"system:serviceaccounts", "system:serviceaccounts:" + benchNamespace, "system:authenticated"},
		}}
	}
	reply(w, review, nil)
}

func reviewAccess(w http.ResponseWriter, r *http.Request) {
	review := &authorizationv1.SubjectAccessReview{}
	if !readReview(w, r, review) {
		return
	}
	review.APIVersion, review.Kind = "authorization.k8s.io/v1", "SubjectAccessReview"
	review.Status.Allowed = true
	reply(w, review, nil)
}

func nameOf(r *http.Request) route.Name {
	return route.Name{Namespace: r.PathValue("namespace"), Stream: r.PathValue("name")}
}

func (s *apiServer) getStream(w http.ResponseWriter, r *http.Request) {
	stream, err := s.api.Stream(r.Context(), nameOf(r))
	reply(w, stream, err)
}

func (s *apiServer) getLayers(w http.ResponseWriter, r *http.Request) {
	layers, err := s.api.Layers(r.Context(), nameOf(r))
	reply(w, layers, err)
}

func (s *apiServer) getImage(w http.ResponseWriter, r *http.Request) {
	image, err := s.api.Image(r.Context(), r.PathValue("name"))
	reply(w, image, err)
}

func (s *apiServer) createImage(w http.ResponseWriter, r *http.Request) {
	if image, ok := read[imagev1.Image](w, r); ok {
		reply(w, image, s.api.CreateImage(r.Context(), image))
	}
}

func (s *apiServer) createStream(w http.ResponseWriter, r *http.Request) {
	stream, ok := read[imagev1.ImageStream](w, r)
	if !ok {
		return
	}
	stream.Namespace = r.PathValue("namespace")
	created, err := s.change("ADDED", route.Name{Namespace: stream.Namespace, Stream: stream.Name}, func() error { return s.api.CreateStream(r.Context(), stream) })
	reply(w, created, err)
}

func (s *apiServer) updateStatus(w http.ResponseWriter, r *http.Request) {
	stream, ok := read[imagev1.ImageStream](w, r)
	if !ok {
		return
	}
	updated, err := s.change("MODIFIED", nameOf(r), func() error { return s.api.UpdateStreamStatus(r.Context(), stream) })
	reply(w, updated, err)
}

func (s *apiServer) createMapping(w http.ResponseWriter, r *http.Request) {
	mapping, ok := read[imagev1.ImageStreamMapping](w, r)
	if !ok {
		return
	}
	mapping.Namespace = r.PathValue("namespace")
	_, err := s.change("MODIFIED", route.Name{Namespace: mapping.Namespace, Stream: mapping.Name}, func() error { return s.api.CreateMapping(r.Context(), mapping) })
	reply(w, &metav1.Status{Status: metav1.StatusSuccess}, err)
}

// change makes a change and tells those who watch.
func (s *apiServer) change(kind string, name route.Name, do func() error) (*imagev1.ImageStream, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := do(); err != nil {
		return nil, err
	}
	stream, err := s.api.Stream(context.Background(), name) // kept in memory
	if err != nil {
		return nil, err
	}
	s.last, _ = strconv.Atoi(stream.ResourceVersion)
	raw, err := json.Marshal(map[string]any{"type": kind, "object": metadataOf(stream)})
	s.events = append(s.events, streamEvent{s.last, raw})
	close(s.changed)
	s.changed = make(chan struct{})
	return stream, err
}

func metadataOf(stream *imagev1.ImageStream) *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{
		TypeMeta:   metav1.TypeMeta{APIVersion: "meta.k8s.io/v1", Kind: "PartialObjectMetadata"},
		ObjectMeta: stream.ObjectMeta,
	}
}

// listStreams lists or watches the metadata of all streams.
func (s *apiServer) listStreams(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	names, err := s.api.StreamNames(r.Context())
	version := s.last
	list := &metav1.PartialObjectMetadataList{TypeMeta: metav1.TypeMeta{APIVersion: "meta.k8s.io/v1", Kind: "PartialObjectMetadataList"}}
	query := r.URL.Query()
	if query.Get("watch") != "true" || query.Get("sendInitialEvents") == "true" {
		for _, name := range names {
			if stream, err := s.api.Stream(r.Context(), name); err == nil {
				list.Items = append(list.Items, *metadataOf(stream))
			}
		}
	}
	s.mu.Unlock()
	list.ResourceVersion = strconv.Itoa(version)
	if query.Get("watch") != "true" {
		reply(w, list, err)
		return
	}
	if from, err := strconv.Atoi(query.Get("resourceVersion")); err == nil && query.Get("sendInitialEvents") != "true" && from > 0 {
		version = from
	}
	s.watch(w, r, list.Items, version)
}

func (s *apiServer) watch(w http.ResponseWriter, r *http.Request, initial []metav1.PartialObjectMetadata, version int) {
	w.Header().Set("Content-Type", "application/json")
	flush := http.NewResponseController(w)
	encoder := json.NewEncoder(w)
	for i := range initial {
		_ = encoder.Encode(map[string]any{"type": "ADDED", "object": &initial[i]})
	}
	bookmark := func(annotations map[string]string) {
		_ = encoder.Encode(map[string]any{"type": "BOOKMARK", "object": &metav1.PartialObjectMetadata{
			TypeMeta:   metav1.TypeMeta{APIVersion: "meta.k8s.io/v1", Kind: "PartialObjectMetadata"},
			ObjectMeta: metav1.ObjectMeta{ResourceVersion: strconv.Itoa(version), Annotations: annotations},
		}})
	}
	if r.URL.Query().Get("sendInitialEvents") == "true" {
		bookmark(map[string]string{metav1.InitialEventsAnnotationKey: "true"})
	}
	ticker := time.NewTicker(30 * time.Second)
	defer ticker.Stop()
	for {
		_ = flush.Flush()
		s.mu.Lock()
		first, _ := slices.BinarySearchFunc(s.events, version+1, func(e streamEvent, v int) int { return e.version - v })
		pending, changed := s.events[first:], s.changed
		s.mu.Unlock()
		for _, event := range pending {
			if _, err := w.Write(append(event.raw, '\n')); err != nil {
				return
			}
			version = event.version
		}
		if len(pending) > 0 {
			continue
		}
		select {
		case <-r.Context().Done():
			return
		case <-ticker.C:
			bookmark(nil)
		case <-changed:
		}
	}
}

// seed stores a stream with many tags, and many streams, as a registry has them after years.
func (s *apiServer) seed(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	tags, _ := strconv.Atoi(query.Get("tags"))
	repositories, _ := strconv.Atoi(query.Get("repositories"))
	digest := query.Get("digest")
	s.mu.Lock()
	defer s.mu.Unlock()
	add := func(stream *imagev1.ImageStream) {
		stream.Namespace, stream.CreationTimestamp = benchNamespace, metav1.Now()
		s.api.AddStream(stream)
		if stored, err := s.api.Stream(r.Context(), route.Name{Namespace: benchNamespace, Stream: stream.Name}); err == nil {
			s.last, _ = strconv.Atoi(stored.ResourceVersion)
			raw, _ := json.Marshal(map[string]any{"type": "ADDED", "object": metadataOf(stored)}) // plain data
			s.events = append(s.events, streamEvent{s.last, raw})
		}
	}
	many := &imagev1.ImageStream{ObjectMeta: metav1.ObjectMeta{Name: strings.TrimPrefix(tagsRepository, benchNamespace+"/")}}
	for i := range tags {
		many.Status.Tags = append(many.Status.Tags, imagev1.NamedTagEventList{Tag: seedTag(i), Items: []imagev1.TagEvent{{
			Created: metav1.Now(), Image: digest, Generation: 1, DockerImageReference: query.Get("server") + "/" + tagsRepository + "@" + digest,
		}}})
	}
	add(many)
	for i := range repositories {
		add(&imagev1.ImageStream{ObjectMeta: metav1.ObjectMeta{Name: seedRepository(i)}})
	}
	close(s.changed)
	s.changed = make(chan struct{})
	reply(w, &metav1.Status{Status: metav1.StatusSuccess}, nil)
}

func seedTag(i int) string        { return fmt.Sprintf("v1.%05d", i) }
func seedRepository(i int) string { return fmt.Sprintf("app-%05d", i) }

package fakeapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/client-go/kubernetes/scheme"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/test/bench/pruner/generate"
)

// Server is the handler.
type Server struct {
	cluster *generate.Cluster
	kinds   *runtime.Scheme
	encoder runtime.Encoder

	mu sync.Mutex
	// changed are the objects that were written since, by path; nil for those that were deleted.
	changed  map[string]runtime.Object
	version  int64
	requests map[string]int
	bytes    int64
}

// New serves the cluster, which it does not change.
func New(cluster *generate.Cluster) *Server {
	s := &Server{
		cluster: cluster, kinds: scheme.Scheme, encoder: protobuf.NewSerializer(scheme.Scheme, scheme.Scheme),
		changed: map[string]runtime.Object{}, version: 1 << 40, requests: map[string]int{},
	}
	return s
}

// Requests counts what was asked, by verb and resource; Bytes is the size of the answers before their
// compression.
func (s *Server) Requests() (requests map[string]int, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	requests = map[string]int{}
	for key, count := range s.requests {
		requests[key] = count
	}
	return requests, s.bytes
}

// Objects returns what a list holds now.
func (s *Server) Objects(resource generate.Resource) []runtime.Object {
	s.mu.Lock()
	defer s.mu.Unlock()
	var objects []runtime.Object
	list := s.cluster.Lists[resource]
	for i := range list.Len() {
		if object := s.current(resource, list.At(i)); object != nil {
			objects = append(objects, object)
		}
	}
	return objects
}

// current is the object as it is now; nil if it was deleted. The lock is held.
func (s *Server) current(resource generate.Resource, object runtime.Object) runtime.Object {
	if len(s.changed) == 0 {
		return object
	}
	accessor, err := meta.Accessor(object)
	if err != nil {
		return nil
	}
	if changed, known := s.changed[key(resource, accessor.GetNamespace(), accessor.GetName())]; known {
		return changed
	}
	return object
}

func key(resource generate.Resource, namespace, name string) string {
	return resource.Name + "/" + namespace + "/" + name
}

// target is what a path names.
type target struct {
	resource                     generate.Resource
	namespace, name, subresource string
}

// parse reads /api/v1/… and /apis/group/version/….
func parse(path string) (t target, ok bool) {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	switch {
	case len(parts) >= 3 && parts[0] == "api":
		t.resource.Version, parts = parts[1], parts[2:]
	case len(parts) >= 4 && parts[0] == "apis":
		t.resource.Group, t.resource.Version, parts = parts[1], parts[2], parts[3:]
	default:
		return t, false
	}
	if len(parts) >= 3 && parts[0] == "namespaces" {
		t.namespace, parts = parts[1], parts[2:]
	}
	parts = append(parts, "", "")
	t.resource.Name, t.name, t.subresource = parts[0], parts[1], parts[2]
	return t, true
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	w.Header()["Date"] = []string{s.cluster.Now.Format(http.TimeFormat)}
	t, ok := parse(request.URL.Path)
	verb := request.Method
	if request.URL.Query().Get("watch") != "" {
		verb = "WATCH"
	}
	s.mu.Lock()
	s.requests[verb+" "+t.resource.Name]++
	s.mu.Unlock()
	_, known := s.cluster.Lists[t.resource]
	switch {
	case !ok:
		s.discover(w, request)
	case verb == "WATCH":
		s.watch(w, request)
	case t.resource.Name == "selfsubjectaccessreviews":
		s.send(w, request, &authorizationv1.SelfSubjectAccessReview{
			TypeMeta: metav1.TypeMeta{APIVersion: "authorization.k8s.io/v1", Kind: "SelfSubjectAccessReview"},
			Status:   authorizationv1.SubjectAccessReviewStatus{Allowed: true},
		}, http.StatusCreated)
	case !known:
		s.refuse(w, apierrors.NewNotFound(schema.GroupResource{Group: t.resource.Group, Resource: t.resource.Name}, t.name))
	case t.name == "" && verb == http.MethodGet:
		s.list(w, request, t.resource)
	default:
		s.object(w, request, t)
	}
}

// watch stays open until the client leaves.
func (s *Server) watch(w http.ResponseWriter, request *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	if flusher, ok := w.(http.Flusher); ok {
		flusher.Flush()
	}
	seconds, err := strconv.Atoi(request.URL.Query().Get("timeoutSeconds"))
	if err != nil {
		seconds = 600
	}
	select {
	case <-request.Context().Done():
	case <-time.After(time.Duration(seconds) * time.Second):
	}
}

// list answers one page. The token of the next one is the index of its first object.
func (s *Server) list(w http.ResponseWriter, request *http.Request, resource generate.Resource) {
	objects := s.cluster.Lists[resource]
	query := request.URL.Query()
	begin, _ := strconv.Atoi(query.Get("continue")) // empty for the first page
	end := objects.Len()
	if limit, err := strconv.Atoi(query.Get("limit")); err == nil && limit > 0 {
		end = min(end, begin+limit)
	}
	page := make([]runtime.Object, 0, max(end-begin, 0))
	s.mu.Lock()
	for i := begin; i < end; i++ {
		if object := s.current(resource, objects.At(i)); object != nil {
			page = append(page, object)
		}
	}
	version := s.version
	s.mu.Unlock()
	list, err := s.listOf(resource)
	if err == nil {
		err = meta.SetList(list, page)
	}
	accessor, accessErr := meta.ListAccessor(list)
	if err != nil || accessErr != nil {
		s.refuse(w, apierrors.NewInternalError(fmt.Errorf("list of %s: %v, %v", resource.Name, err, accessErr)))
		return
	}
	accessor.SetResourceVersion(strconv.FormatInt(version, 10))
	if end < objects.Len() {
		accessor.SetContinue(strconv.Itoa(end))
	}
	s.send(w, request, list, http.StatusOK)
}

// listKinds are the kinds of lists that cannot be told from the name of their resource.
var listKinds = map[generate.Resource]string{
	generate.LimitRanges: "LimitRangeList", generate.Pods: "PodList", generate.PodTemplates: "PodTemplateList",
	generate.ReplicationControllers: "ReplicationControllerList", generate.ReplicaSets: "ReplicaSetList",
	generate.Deployments: "DeploymentList", generate.DaemonSets: "DaemonSetList", generate.StatefulSets: "StatefulSetList",
	generate.ControllerRevisions: "ControllerRevisionList", generate.Jobs: "JobList", generate.CronJobs: "CronJobList",
}

func (s *Server) listOf(resource generate.Resource) (runtime.Object, error) {
	typed := metav1.TypeMeta{APIVersion: imagev1.SchemeGroupVersion.String()}
	switch resource {
	case generate.Images:
		typed.Kind = "ImageList"
		return &imagev1.ImageList{TypeMeta: typed}, nil
	case generate.ImageStreams:
		typed.Kind = "ImageStreamList"
		return &imagev1.ImageStreamList{TypeMeta: typed}, nil
	}
	kind := schema.GroupVersionKind{Group: resource.Group, Version: resource.Version, Kind: listKinds[resource]}
	list, err := s.kinds.New(kind)
	if err != nil {
		return nil, err
	}
	list.GetObjectKind().SetGroupVersionKind(kind)
	return list, nil
}

// send encodes as the client asked for.
func (s *Server) send(w http.ResponseWriter, request *http.Request, object runtime.Object, status int) {
	const binary = "application/vnd.kubernetes.protobuf"
	var answer bytes.Buffer
	var err error
	if strings.HasPrefix(request.Header.Get("Accept"), binary) {
		w.Header().Set("Content-Type", binary)
		err = s.encoder.Encode(object, &answer)
	} else {
		w.Header().Set("Content-Type", "application/json")
		err = json.NewEncoder(&answer).Encode(object)
	}
	if err != nil {
		s.refuse(w, apierrors.NewInternalError(err))
		return
	}
	s.mu.Lock()
	s.bytes += int64(answer.Len())
	s.mu.Unlock()
	_ = write(w, request, status, answer.Bytes()) // who left does not read it
}

func (s *Server) refuse(w http.ResponseWriter, refusal *apierrors.StatusError) {
	status := refusal.Status()
	status.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(int(status.Code))
	_ = json.NewEncoder(w).Encode(status) // who left does not read it
}

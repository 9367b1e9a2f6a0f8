package fakeapi

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/test/bench/pruner/generate"
)

// object answers requests for one object: reading, deleting with preconditions, writing a stream's status.
func (s *Server) object(w http.ResponseWriter, request *http.Request, t target) {
	group := schema.GroupResource{Group: t.resource.Group, Resource: t.resource.Name}
	body, err := io.ReadAll(request.Body)
	if err != nil {
		s.refuse(w, apierrors.NewBadRequest(err.Error()))
		return
	}
	s.mu.Lock()
	found := s.find(t)
	if found == nil {
		s.mu.Unlock()
		s.refuse(w, apierrors.NewNotFound(group, t.name))
		return
	}
	answer, refusal := s.change(request.Method, group, t, found, body)
	s.mu.Unlock()
	if refusal != nil {
		s.refuse(w, refusal)
		return
	}
	s.send(w, request, answer, http.StatusOK)
}

// find looks an object up; the lock is held.
func (s *Server) find(t target) runtime.Object {
	if changed, known := s.changed[key(t.resource, t.namespace, t.name)]; known {
		return changed
	}
	list := s.cluster.Lists[t.resource]
	for i := range list.Len() {
		object := list.At(i)
		accessor, err := meta.Accessor(object)
		if err == nil && accessor.GetNamespace() == t.namespace && accessor.GetName() == t.name {
			return object
		}
	}
	return nil
}

// change does what was asked and returns the answer; the lock is held.
func (s *Server) change(method string, group schema.GroupResource, t target, found runtime.Object, body []byte) (runtime.Object, *apierrors.StatusError) {
	accessor, err := meta.Accessor(found)
	if err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	switch {
	case method == http.MethodGet:
		return found, nil
	case method == http.MethodDelete:
		var options metav1.DeleteOptions
		if err := json.Unmarshal(body, &options); len(body) > 0 && err != nil {
			return nil, apierrors.NewBadRequest(err.Error())
		}
		if p := options.Preconditions; p != nil {
			if p.UID != nil && *p.UID != accessor.GetUID() || p.ResourceVersion != nil && *p.ResourceVersion != accessor.GetResourceVersion() {
				return nil, apierrors.NewConflict(group, t.name, io.ErrUnexpectedEOF)
			}
		}
		s.changed[key(t.resource, t.namespace, t.name)] = nil
		return &metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusSuccess}, nil
	case method == http.MethodPut && t.resource == generate.ImageStreams && t.subresource == "status":
		written := &imagev1.ImageStream{}
		if err := json.Unmarshal(body, written); err != nil {
			return nil, apierrors.NewBadRequest(err.Error())
		}
		if written.ResourceVersion != accessor.GetResourceVersion() {
			return nil, apierrors.NewConflict(group, t.name, io.ErrUnexpectedEOF)
		}
		stored := found.(*imagev1.ImageStream).DeepCopy()
		stored.Status = written.Status
		s.version++
		stored.ResourceVersion = strconv.FormatInt(s.version, 10)
		s.changed[key(t.resource, t.namespace, t.name)] = stored
		return stored, nil
	}
	return nil, apierrors.NewMethodNotSupported(group, strings.ToLower(method))
}

// worthPacking is the size from which kube-apiserver compresses answers.
const worthPacking = 128 << 10

var packers = sync.Pool{New: func() any {
	packer, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // the level is a valid one
	return packer
}}

// write sends an answer, compressed if the client takes it and it is worth it.
func write(w http.ResponseWriter, request *http.Request, status int, answer []byte) error {
	if len(answer) < worthPacking || !strings.Contains(request.Header.Get("Accept-Encoding"), "gzip") {
		w.WriteHeader(status)
		_, err := w.Write(answer)
		return err
	}
	w.Header().Set("Content-Encoding", "gzip")
	w.WriteHeader(status)
	packer := packers.Get().(*gzip.Writer)
	defer packers.Put(packer)
	packer.Reset(w)
	_, err := packer.Write(answer)
	return errors.Join(err, packer.Close())
}

// discover tells which resources there are.
func (s *Server) discover(w http.ResponseWriter, request *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(discovery(strings.Trim(request.URL.Path, "/"))) // who left does not read it
}

func discovery(path string) any {
	groups := map[string]bool{}
	var resources metav1.APIResourceList
	parts := strings.Split(path, "/")
	for _, resource := range generate.Resources {
		groups[resource.Group] = true
		if path == "api/v1" && resource.Group == "" || len(parts) == 3 && parts[0] == "apis" && parts[1] == resource.Group {
			resources.APIResources = append(resources.APIResources, metav1.APIResource{
				Name: resource.Name, Namespaced: resource != generate.Images, Kind: strings.TrimSuffix(listKinds[resource], "List"),
				Verbs: metav1.Verbs{"get", "list", "watch", "delete", "update"},
			})
		}
	}
	switch {
	case path == "api":
		return metav1.APIVersions{TypeMeta: metav1.TypeMeta{Kind: "APIVersions"}, Versions: []string{"v1"}}
	case path == "apis":
		list := metav1.APIGroupList{TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"}}
		for group := range groups {
			if group != "" {
				version := metav1.GroupVersionForDiscovery{GroupVersion: group + "/v1", Version: "v1"}
				list.Groups = append(list.Groups, metav1.APIGroup{Name: group, Versions: []metav1.GroupVersionForDiscovery{version}, PreferredVersion: version})
			}
		}
		return list
	}
	resources.TypeMeta = metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"}
	resources.GroupVersion = strings.TrimPrefix(strings.TrimPrefix(path, "apis/"), "api/")
	return resources
}

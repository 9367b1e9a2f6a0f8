package crd

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
)

// NewClient returns a client for the hidden records. It has connections of its own, so that watches
// and bursts of other clients of the process never delay a write of an image, and no client-side
// throttle: kube-apiserver's priority and fairness decides. Refusals with Retry-After are retried.
func NewClient(config *rest.Config, version schema.GroupVersion) (rest.Interface, error) {
	own := rest.CopyConfig(config)
	own.Dial = (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext
	own.QPS, own.RateLimiter = -1, nil
	own.GroupVersion = &version
	own.APIPath = "/apis"
	own.ContentType, own.AcceptContentTypes = runtime.ContentTypeJSON, runtime.ContentTypeJSON
	scheme := runtime.NewScheme()
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	own.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	client, err := rest.RESTClientFor(own)
	if err != nil {
		return nil, fmt.Errorf("client for %s: %w", version, err)
	}
	return client, nil
}

// maxRetries bounds how often a refusal with Retry-After is asked again; clients of this server wait
// meanwhile, and are told to come back when it does not help.
const maxRetries = 5

// request starts a request for the records at a location.
func (s *Store) request(verb string, at location) *rest.Request {
	return s.config.Client.Verb(verb).
		NamespaceIfScoped(at.namespace, s.config.Namespaced && at.namespace != "").
		Resource(s.config.Records.Resource).
		MaxRetries(maxRetries)
}

func (s *Store) getRecord(ctx context.Context, at location, resourceVersion string) (*record, error) {
	request := s.request(http.MethodGet, at).Name(recordName(at.name))
	if resourceVersion != "" {
		// Kube-apiserver waits itself for a version that its cache has not reached.
		request.Param("resourceVersion", resourceVersion).MaxRetries(0)
	}
	return s.doRecord(ctx, "get", at, request)
}

// write creates (POST) or replaces (PUT) a record.
func (s *Store) write(ctx context.Context, verb string, at location, r *record) (*record, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	request := s.request(verb, at).SetHeader("Content-Type", runtime.ContentTypeJSON).Body(body)
	operation := "create"
	if verb == http.MethodPut {
		operation = "update"
		request.Name(r.Name)
	}
	return s.doRecord(ctx, operation, at, request)
}

func (s *Store) deleteRecord(ctx context.Context, at location, resourceVersion string) error {
	body, err := json.Marshal(metav1.DeleteOptions{
		TypeMeta:      metav1.TypeMeta{APIVersion: "v1", Kind: "DeleteOptions"},
		Preconditions: &metav1.Preconditions{ResourceVersion: &resourceVersion},
	})
	if err != nil {
		return err
	}
	defer observe("delete", time.Now())
	err = s.request(http.MethodDelete, at).Name(recordName(at.name)).
		SetHeader("Content-Type", runtime.ContentTypeJSON).Body(body).Do(ctx).Error()
	return s.storageError(at, err)
}

func (s *Store) doRecord(ctx context.Context, operation string, at location, request *rest.Request) (*record, error) {
	defer observe(operation, time.Now())
	body, err := answer(request.Do(ctx))
	if err != nil {
		return nil, s.storageError(at, err)
	}
	r := &record{}
	if err := json.Unmarshal(body, r); err != nil {
		return nil, fmt.Errorf("%s %s: reading the answer of kube-apiserver: %w", operation, at.key, err)
	}
	return r, nil
}

// answer returns the body of an answer, or the error that kube-apiserver sent in it.
func answer(result rest.Result) ([]byte, error) {
	if err := result.Error(); err != nil {
		return nil, err
	}
	return result.Raw()
}

// listParams are the query parameters of one page.
type listParams struct {
	limit                int64
	continueToken        string
	resourceVersion      string
	resourceVersionMatch metav1.ResourceVersionMatch
	labelSelector        string
}

func (s *Store) listRecords(ctx context.Context, at location, params listParams) (*recordList, error) {
	defer observe("list", time.Now())
	request := s.request(http.MethodGet, at)
	for name, value := range map[string]string{
		"continue":             params.continueToken,
		"resourceVersion":      params.resourceVersion,
		"resourceVersionMatch": string(params.resourceVersionMatch),
		"labelSelector":        params.labelSelector,
		"fieldSelector":        at.fieldSelector(),
	} {
		if value != "" {
			request.Param(name, value)
		}
	}
	if params.resourceVersion != "" {
		request.MaxRetries(0) // as in getRecord
	}
	if params.limit > 0 {
		request.Param("limit", fmt.Sprint(params.limit))
	}
	body, err := answer(request.Do(ctx))
	if err != nil {
		return nil, s.storageError(at, err)
	}
	// Room for the whole page: growing with each record copied a fifth of all that a list takes.
	list := &recordList{Items: make([]record, 0, params.limit)}
	if err := json.Unmarshal(body, list); err != nil {
		return nil, fmt.Errorf("list %s: reading the answer of kube-apiserver: %w", at.key, err)
	}
	return list, nil
}

// watchRecords opens a stream of events. The caller closes it.
func (s *Store) watchRecords(ctx context.Context, at location, resourceVersion, labelSelector string) (io.ReadCloser, error) {
	request := s.request(http.MethodGet, at).
		Param("watch", "true").
		Param("allowWatchBookmarks", "true").
		Param("resourceVersion", resourceVersion)
	if labelSelector != "" {
		request.Param("labelSelector", labelSelector)
	}
	if selector := at.fieldSelector(); selector != "" {
		request.Param("fieldSelector", selector)
	}
	stream, err := request.Stream(ctx)
	if err != nil {
		return nil, s.storageError(at, err)
	}
	return stream, nil
}

// fieldSelector narrows a collection to the one record that the location names.
func (at location) fieldSelector() string {
	if at.name == "" || at.empty {
		return ""
	}
	return "metadata.name=" + recordName(at.name)
}

// Package objects reads objects of any kind as JSON: lists page by page, and watches.
//
// In come the name of a resource and list options. Out comes one decoded object after the other, and of a
// list where it goes on and the version it shows. Of a page no more than one object is in memory at a
// time, because custom objects can be large. A page that breaks off is an error, never a short page.
//
// It knows nothing of what it reads, repeats nothing and never changes anything.
package objects

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

// Page says what a list request brought beside its objects.
type Page struct {
	// Continue is where the list goes on; empty at its end.
	Continue string
	// ResourceVersion is the version of the whole list.
	ResourceVersion string
	Items           int
}

// Reader reads from one cluster.
type Reader struct {
	client  rest.Interface
	watches dynamic.Interface
}

// NewReader takes the timeout of config for lists; watches have none.
func NewReader(config *rest.Config) (*Reader, error) {
	config = dynamic.ConfigFor(config)
	config.GroupVersion = &schema.GroupVersion{}
	client, err := rest.UnversionedRESTClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("client of custom kinds: %w", err)
	}
	unlimited := rest.CopyConfig(config)
	unlimited.Timeout = 0
	watches, err := dynamic.NewForConfig(unlimited)
	if err != nil {
		return nil, fmt.Errorf("client of custom kinds: %w", err)
	}
	return &Reader{client: client, watches: watches}, nil
}

// List reads one page and shows visit each object. An empty namespace means all.
func (r *Reader) List(ctx context.Context, gvr schema.GroupVersionResource, namespace string, options metav1.ListOptions, visit func(map[string]any)) (Page, error) {
	path := []string{"apis", gvr.Group, gvr.Version}
	if gvr.Group == "" {
		path = []string{"api", gvr.Version}
	}
	if namespace != "" {
		path = append(path, "namespaces", namespace)
	}
	body, err := r.client.Get().AbsPath(append(path, gvr.Resource)...).
		SetHeader("Accept", "application/json").
		SpecificallyVersionedParams(&options, metav1.ParameterCodec, schema.GroupVersion{Version: "v1"}).
		Stream(ctx)
	if err != nil {
		return Page{}, err
	}
	defer body.Close()
	return readList(body, visit)
}

// Watch follows changes.
func (r *Reader) Watch(ctx context.Context, gvr schema.GroupVersionResource, namespace string, options metav1.ListOptions) (watch.Interface, error) {
	return r.watches.Resource(gvr).Namespace(namespace).Watch(ctx, options)
}

// readList reads a list object by object.
func readList(body io.Reader, visit func(map[string]any)) (Page, error) {
	decoder := json.NewDecoder(body)
	var page Page
	if err := expect(decoder, json.Delim('{')); err != nil {
		return page, err
	}
	listed := false
	for decoder.More() {
		key, err := decoder.Token()
		if err != nil {
			return page, broken(err)
		}
		switch key {
		case "items":
			listed = true
			if page.Items, err = readItems(decoder, visit); err != nil {
				return page, err
			}
		case "metadata":
			var meta metav1.ListMeta
			if err := decoder.Decode(&meta); err != nil {
				return page, broken(err)
			}
			page.Continue, page.ResourceVersion = meta.Continue, meta.ResourceVersion
		default:
			var other json.RawMessage
			if err := decoder.Decode(&other); err != nil {
				return page, broken(err)
			}
		}
	}
	if err := expect(decoder, json.Delim('}')); err != nil {
		return page, err
	}
	if !listed {
		return page, errors.New("the answer is not a list")
	}
	return page, nil
}

func readItems(decoder *json.Decoder, visit func(map[string]any)) (int, error) {
	token, err := decoder.Token()
	if err != nil {
		return 0, broken(err)
	}
	if token == nil {
		return 0, nil
	}
	if token != json.Delim('[') {
		return 0, errors.New("the answer is not a list: its items are not")
	}
	count := 0
	for ; decoder.More(); count++ {
		var object map[string]any
		if err := decoder.Decode(&object); err != nil {
			return count, broken(err)
		}
		visit(object)
	}
	return count, expect(decoder, json.Delim(']'))
}

func expect(decoder *json.Decoder, want json.Delim) error {
	token, err := decoder.Token()
	if err != nil {
		return broken(err)
	}
	if token != want {
		return fmt.Errorf("the answer is not a list: %v where %v belongs", token, want)
	}
	return nil
}

// broken makes an early end recognisable, however the decoder met it.
func broken(err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("read the list: %w", err)
}

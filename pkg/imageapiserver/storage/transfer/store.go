package transfer

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/storage"

	imagestorage "image.alauda.io/registry/pkg/imageapiserver/storage"
	"image.alauda.io/registry/pkg/imageapiserver/storage/crd"
)

// walkPage bounds how many objects of an etcd are in memory at once.
const walkPage = 500

// entry is a stored object or the report of a damaged one.
type entry struct {
	// key is namespace/name, or the name.
	key string
	obj *object
	err error
}

// resourceStore is one resource in one backend.
type resourceStore struct {
	imagestorage.Resource
	kind   string
	prefix string
	// check decodes the object as the server does.
	check func([]byte) (runtime.Object, error)
	raw   storage.Interface
	close func()
}

// walk visits everything that is stored, in the order of the backend. Entries without object are damaged.
func (s *resourceStore) walk(ctx context.Context, visit func(entry) error) error {
	examined := func(e entry) error { return visit(s.examine(e)) }
	if records, ok := s.raw.(*crd.Store); ok {
		return records.Walk(ctx, func(record crd.Entry) error { return examined(fromRecord(record)) })
	}
	predicate := storage.Everything
	predicate.Limit = walkPage
	for {
		page := &objectList{}
		if err := s.raw.GetList(ctx, s.prefix+"/", storage.ListOptions{Recursive: true, Predicate: predicate}, page); err != nil {
			return fmt.Errorf("list %s: %w", s.Resource.Resource, err)
		}
		for i := range page.Items {
			if err := examined(s.fromEtcd(&page.Items[i])); err != nil {
				return err
			}
		}
		if predicate.Continue = page.Continue; predicate.Continue == "" {
			return nil
		}
	}
}

func fromRecord(record crd.Entry) entry {
	key := record.Name
	if record.Namespace != "" {
		key = record.Namespace + "/" + record.Name
	}
	if record.Err != nil {
		return entry{key: key, err: record.Err}
	}
	obj, err := parse(record.JSON)
	if err == nil && obj.path() != key {
		err = fmt.Errorf("the record of %s holds %s", key, obj.path())
	}
	return entry{key: key, obj: obj, err: err}
}

func (s *resourceStore) fromEtcd(obj *object) entry {
	if obj.damage == nil {
		return entry{key: obj.path(), obj: obj}
	}
	key := obj.key
	if _, after, found := strings.Cut(obj.key, s.prefix+"/"); found {
		key = after
	}
	return entry{key: key, err: obj.damage}
}

// examine looks into an object as the server would when it serves it.
func (s *resourceStore) examine(e entry) entry {
	if e.err == nil && e.obj.Kind != s.kind {
		e.err = fmt.Errorf("it is a %s", e.obj.Kind)
	}
	if e.err == nil {
		_, e.err = s.check(e.obj.json)
	}
	if e.err != nil {
		e.obj = nil
	}
	return e
}

// path is namespace/name, or the name.
func (o *object) path() string {
	if o.Namespace == "" {
		return o.Name
	}
	return o.Namespace + "/" + o.Name
}

func (s *resourceStore) storageKey(obj *object) string { return s.prefix + "/" + obj.path() }

// outcome is what became of an object that was brought.
type outcome int

const (
	created outcome = iota
	unchanged
	kept
	replaced
)

// errOtherObject says that the name is taken by an object with another uid.
var errOtherObject = errors.New("another object has this name")

// bring stores an object that may be there already.
func (s *resourceStore) bring(ctx context.Context, obj *object, overwrite bool) (outcome, error) {
	err := s.raw.Create(ctx, s.storageKey(obj), obj, nil, 0)
	if err == nil {
		return created, nil
	}
	if !storage.IsExist(err) {
		return created, err
	}
	existing := &object{}
	if err := s.raw.Get(ctx, s.storageKey(obj), storage.GetOptions{}, existing); err != nil && !overwrite {
		return kept, err
	}
	switch {
	case string(existing.json) == string(obj.json):
		return unchanged, nil
	case overwrite:
		return replaced, s.replace(ctx, obj)
	case existing.damage != nil:
		return kept, fmt.Errorf("what is stored under this name is damaged: %w", existing.damage)
	case existing.UID != obj.UID:
		return kept, fmt.Errorf("%w: it has the uid %s, the one to store has %s", errOtherObject, existing.UID, obj.UID)
	}
	return kept, nil
}

func (s *resourceStore) replace(ctx context.Context, obj *object) error {
	out := &object{}
	update := func(runtime.Object, storage.ResponseMeta) (runtime.Object, *uint64, error) {
		return obj.DeepCopyObject(), nil, nil
	}
	return s.raw.GuaranteedUpdate(ctx, s.storageKey(obj), out, true, nil, update, nil)
}

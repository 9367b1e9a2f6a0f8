package crd

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"reflect"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/conversion"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/storage"
)

// state is an object as an update or deletion sees it.
type state struct {
	obj runtime.Object
	// data is its JSON, nil when the object does not exist.
	data []byte
	// version is the resourceVersion of its record, empty when the object does not exist.
	version string
	// live tells that it was read from the storage during this operation, not suggested by a cache.
	live bool
	// stale tells that the record has another format than new ones, so that writing the same object
	// again is not in vain.
	stale bool
}

// GuaranteedUpdate implements storage.Interface.
func (s *Store) GuaranteedUpdate(ctx context.Context, key string, destination runtime.Object, ignoreNotFound bool,
	preconditions *storage.Preconditions, tryUpdate storage.UpdateFunc, suggestion runtime.Object) error {
	at, err := s.object(key)
	if err != nil {
		return err
	}
	read := func() (*state, error) { return s.readState(ctx, at, destination, ignoreNotFound) }
	current, err := s.firstState(suggestion, read)
	if err != nil {
		return err
	}
	for lost := 0; ; {
		updated, data, err := s.attempt(at, current, preconditions, tryUpdate)
		if err != nil {
			if current, err = s.retryStale(current, err, read); err != nil {
				return err
			}
			continue
		}
		if current.version != "" && !current.stale && bytes.Equal(data, current.data) {
			if current.live {
				_, err := s.decodeData(data, current.version, destination)
				return err
			}
			// The cache may be behind: what looks unchanged may have changed in the storage.
			if current, err = read(); err != nil {
				return err
			}
			continue
		}
		written, err := s.put(ctx, at, current, updated, data)
		if err == nil {
			_, err := s.decodeData(data, written.ResourceVersion, destination)
			return err
		}
		if !isLostRace(err) {
			return err
		}
		if lost++; !backOff(ctx, lost) {
			return err
		}
		if current, err = read(); err != nil {
			return err
		}
	}
}

const (
	firstBackOff = 4 * time.Millisecond
	maxBackOff   = 256 * time.Millisecond
)

// backOff waits before the write that follows lost ones, longer each time and never as long as the
// other writers, who would meet again. The first one waits not at all. It is false when the context
// has ended.
func backOff(ctx context.Context, lost int) bool {
	if lost <= 1 {
		return ctx.Err() == nil
	}
	limit := min(firstBackOff<<min(lost-2, 10), maxBackOff)
	select {
	case <-ctx.Done():
		return false
	case <-time.After(limit/2 + rand.N(limit/2)):
		return true
	}
}

// attempt computes the object to write from the current one.
func (s *Store) attempt(at location, current *state, preconditions *storage.Preconditions, tryUpdate storage.UpdateFunc) (runtime.Object, []byte, error) {
	if err := preconditions.Check(at.key, current.obj); err != nil {
		return nil, nil, err
	}
	version, err := s.versioner.ParseResourceVersion(current.version)
	if err != nil {
		return nil, nil, err
	}
	updated, ttl, err := tryUpdate(current.obj, storage.ResponseMeta{ResourceVersion: version})
	if err != nil {
		return nil, nil, err
	}
	if ttl != nil && *ttl != 0 {
		return nil, nil, fmt.Errorf("update %s: objects with a time to live are not supported", at.key)
	}
	data, err := s.encode(updated)
	return updated, data, err
}

// put writes the object: a new record when there was none, else a replacement of the very version
// that the object was computed from.
func (s *Store) put(ctx context.Context, at location, current *state, obj runtime.Object, data []byte) (*record, error) {
	if current.version == "" {
		return s.create(ctx, at, obj, data)
	}
	metadata, err := meta.Accessor(obj)
	if err != nil {
		return nil, err
	}
	r := s.newRecord(at, data, metadata.GetLabels())
	r.ResourceVersion = current.version
	return s.write(ctx, http.MethodPut, at, r)
}

// isLostRace tells that somebody else created, changed or deleted the record first.
func isLostRace(err error) bool {
	return storage.IsConflict(err) || storage.IsExist(err) || storage.IsNotFound(err)
}

// firstState takes the suggestion of a cache, or reads.
func (s *Store) firstState(suggestion runtime.Object, read func() (*state, error)) (*state, error) {
	if suggestion == nil {
		return read()
	}
	version, err := s.versioner.ObjectResourceVersion(suggestion)
	if err != nil {
		return nil, fmt.Errorf("suggested %T: %w", suggestion, err)
	}
	if version == 0 {
		return read()
	}
	data, err := s.encode(suggestion)
	if err != nil {
		return nil, err
	}
	if err := s.versioner.UpdateObject(suggestion, version); err != nil {
		return nil, err
	}
	return &state{obj: suggestion, data: data, version: fmt.Sprint(version)}, nil
}

// retryStale decides about an error that was computed from a state: from a suggestion it may be wrong,
// so the object is read and tried again; if that shows the same version, or the state was live, the
// error stands.
func (s *Store) retryStale(current *state, cause error, read func() (*state, error)) (*state, error) {
	if current.live {
		return nil, cause
	}
	fresh, err := read()
	if err != nil {
		return nil, err
	}
	if fresh.version == current.version {
		return nil, cause
	}
	return fresh, nil
}

// readState reads the object from the storage. Example tells the type of the object.
func (s *Store) readState(ctx context.Context, at location, example runtime.Object, ignoreNotFound bool) (*state, error) {
	value, err := conversion.EnforcePtr(example)
	if err != nil {
		return nil, fmt.Errorf("output of %s: %w", at.key, err)
	}
	empty, ok := reflect.New(value.Type()).Interface().(runtime.Object)
	if !ok {
		return nil, fmt.Errorf("output of %s: %T is not an API object", at.key, example)
	}
	found, err := s.getRecord(ctx, at, "")
	if storage.IsNotFound(err) && ignoreNotFound {
		return &state{obj: empty, live: true}, nil
	}
	if err != nil {
		return nil, err
	}
	data, err := s.open(found)
	if err != nil {
		return nil, storage.NewInternalError(err)
	}
	obj, err := s.decodeData(data, found.ResourceVersion, empty)
	if err != nil {
		return nil, storage.NewInternalError(fmt.Errorf("%s: %w", s.describe(found), err))
	}
	return &state{
		obj: obj, data: data, version: found.ResourceVersion, live: true,
		stale: found.Spec.Format != s.config.Compressor.Format(),
	}, nil
}

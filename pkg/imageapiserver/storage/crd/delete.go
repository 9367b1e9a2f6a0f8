package crd

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/storage"
)

// Delete implements storage.Interface. The returned object carries the resourceVersion of its last
// change: kube-apiserver does not tell the version of the deletion.
func (s *Store) Delete(ctx context.Context, key string, out runtime.Object, preconditions *storage.Preconditions,
	validate storage.ValidateObjectFunc, suggestion runtime.Object, opts storage.DeleteOptions) error {
	at, err := s.object(key)
	if err != nil {
		return err
	}
	if opts.ExpectTransformOrDecodeError {
		return fmt.Errorf("delete %s: deleting damaged objects is not supported", at.key)
	}
	read := func() (*state, error) { return s.readState(ctx, at, out, false) }
	current, err := s.firstState(suggestion, read)
	if err != nil {
		return err
	}
	for lost := 0; ; {
		if err := s.mayDelete(ctx, at, current, preconditions, validate); err != nil {
			if current, err = s.retryStale(current, err, read); err != nil {
				return err
			}
			continue
		}
		err := s.deleteRecord(ctx, at, current.version)
		if err == nil {
			_, err := s.decodeData(current.data, current.version, out)
			return err
		}
		if !storage.IsConflict(err) {
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

func (s *Store) mayDelete(ctx context.Context, at location, current *state, preconditions *storage.Preconditions, validate storage.ValidateObjectFunc) error {
	if err := preconditions.Check(at.key, current.obj); err != nil {
		return err
	}
	return validate(ctx, current.obj)
}

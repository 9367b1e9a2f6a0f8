package crd

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/storage"
)

// storageError turns an answer of kube-apiserver into what the storage contract promises. What says
// nothing about the object but about this server's own access (401, 403, an absent record kind) must
// not look like an answer to the client's request.
func (s *Store) storageError(at location, err error) error {
	switch {
	case err == nil:
		return nil
	case apierrors.IsNotFound(err):
		return s.notFound(at, err)
	case apierrors.IsAlreadyExists(err):
		return storage.NewKeyExistsError(at.key, 0)
	case apierrors.IsConflict(err):
		return storage.NewResourceVersionConflictsError(at.key, 0)
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return err
	case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err), apierrors.IsInvalid(err):
		return apierrors.NewInternalError(fmt.Errorf("storage in %s: %w", s.config.Records.GroupResource(), err))
	case errors.Is(err, context.DeadlineExceeded):
		return apierrors.NewTimeoutError(fmt.Sprintf("storage in %s did not answer in time", s.config.Records.GroupResource()), 0)
	}
	return err
}

// notFound tells a missing object from a missing namespace and from a missing record kind.
func (s *Store) notFound(at location, err error) error {
	if apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse) {
		return apierrors.NewInternalError(fmt.Errorf("storage: kube-apiserver does not serve %s: %w", s.config.Records.GroupResource(), err))
	}
	status, ok := err.(apierrors.APIStatus)
	if ok && status.Status().Details != nil && status.Status().Details.Kind == "namespaces" {
		return err
	}
	return storage.NewKeyNotFoundError(at.key, 0)
}

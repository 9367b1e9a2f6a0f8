package crd

import (
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	storagev1 "image.alauda.io/api/storage/v1"
	"image.alauda.io/registry/pkg/imageapiserver/storage/compress"
)

// nameAnnotation holds the true name of the object in a record.
const nameAnnotation = "storage.image.alauda.io/name"

// record is any of the hidden kinds; they differ in kind and scope only.
type record struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`

	Spec storagev1.RecordSpec `json:"spec"`
}

type recordList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata"`

	Items []record `json:"items"`
}

// newRecord wraps the encoded object. The labels are mirrored so that kube-apiserver can evaluate
// label selectors.
func (s *Store) newRecord(at location, data []byte, labels map[string]string) *record {
	return &record{
		TypeMeta: metav1.TypeMeta{APIVersion: s.config.Records.GroupVersion().String(), Kind: s.config.RecordKind},
		ObjectMeta: metav1.ObjectMeta{
			Name:        recordName(at.name),
			Namespace:   at.namespace,
			Labels:      labels,
			Annotations: map[string]string{nameAnnotation: at.name},
			// One empty entry asks kube-apiserver to forget who manages which field. It keeps the field maps of
			// every record in memory, where they weigh as much as the payload, and no two writers share a record.
			// A creation is recorded nevertheless; the first update takes that away for good.
			ManagedFields: []metav1.ManagedFieldsEntry{{}},
		},
		Spec: s.config.Compressor.Pack(data),
	}
}

// open returns the encoded object of a record. A record whose name does not belong to the true name
// in its annotation was not written by this server and is not trusted.
func (s *Store) open(r *record) ([]byte, error) {
	trueName := r.Annotations[nameAnnotation]
	if recordName(trueName) != r.Name {
		return nil, fmt.Errorf("%s is damaged: its annotation %s=%q does not belong to its name", s.describe(r), nameAnnotation, trueName)
	}
	data, err := s.config.Compressor.Unpack(r.Spec)
	if err != nil {
		return nil, fmt.Errorf("%s is damaged: %w", s.describe(r), err)
	}
	return data, nil
}

// decode fills into with the object of a record; its resourceVersion is the record's.
func (s *Store) decode(r *record, into runtime.Object) (runtime.Object, error) {
	data, err := s.open(r)
	if err != nil {
		return nil, err
	}
	obj, err := s.decodeData(data, r.ResourceVersion, into)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.describe(r), err)
	}
	return obj, nil
}

func (s *Store) decodeData(data []byte, resourceVersion string, into runtime.Object) (runtime.Object, error) {
	obj, _, err := s.config.Codec.Decode(data, nil, into)
	if err != nil {
		return nil, err
	}
	version, err := s.versioner.ParseResourceVersion(resourceVersion)
	if err != nil {
		return nil, err
	}
	return obj, s.versioner.UpdateObject(obj, version)
}

// encode returns the JSON of an object. It takes the resourceVersion off the object, as the
// storage contract asks. What could not be read back is refused: compressed, it might well fit.
func (s *Store) encode(obj runtime.Object) ([]byte, error) {
	if err := s.versioner.PrepareObjectForStorage(obj); err != nil {
		return nil, fmt.Errorf("preparing %T for storage: %w", obj, err)
	}
	data, err := runtime.Encode(s.config.Codec, obj)
	if err == nil && len(data) > compress.MaxSize {
		return nil, apierrors.NewRequestEntityTooLargeError(fmt.Sprintf("%T has %d bytes, at most %d can be stored", obj, len(data), compress.MaxSize))
	}
	return data, err
}

func (s *Store) describe(r *record) string {
	if r.Namespace == "" {
		return fmt.Sprintf("%s %s", s.config.Records.GroupResource(), r.Name)
	}
	return fmt.Sprintf("%s %s/%s", s.config.Records.GroupResource(), r.Namespace, r.Name)
}

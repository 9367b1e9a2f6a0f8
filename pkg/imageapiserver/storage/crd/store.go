// Package crd keeps API objects in custom resources: an implementation of the storage interface of
// k8s.io/apiserver over hidden record kinds served by kube-apiserver. It needs no database of its own
// and inherits the cluster's availability, backup and encryption.
//
// In: a client for the records, the codec of the stored version, the record kind and its scope. Out: a
// storage.Interface for generic registry stores. The whole object, with its own uid, generation,
// finalizers and timestamps, is the payload of a record; only the resourceVersion is the record's.
// Labels are mirrored so that kube-apiserver evaluates label selectors; field selectors are evaluated
// here. Watches pass the events of kube-apiserver on, in their order and with their versions.
//
// It never interprets the objects, never creates the record kinds, and never lets an answer about its
// own rights reach a client as if it were about the client's.
//
// The conformance suite of the library (k8s.io/apiserver/pkg/storage/testing) runs against it over a
// real kube-apiserver; what compacts etcd or counts its revisions runs over one without watch cache.
// Left out, because the contract does not have it here:
//   - CreateWithTTL, GuaranteedUpdateWithTTL: records have no time to live;
//   - TransformationFailure, WatchError, WatchErrorIsBlockingFurtherEvents, and all with
//     ExpectedTransformOrDecodeError or UnsafeDelete: values have no transformer, and damaged records
//     are left out of lists and watches instead of ending them;
//   - GetListWith(out)ErrorAggregation: it collects errors of the transformer;
//   - CompactRevision, KeySchema: compaction and keys are those of kube-apiserver;
//   - OptionalWatchBookmarks, ProgressNotify: kube-apiserver sends bookmarks about once a minute, the
//     tests wait seconds; the first is a test of the watch cache, not of what lies under it;
//   - SendInitialEvents, WatchSemantics, WatchListMatchSingle: watch-list is refused, its gate is off.
package crd

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/client-go/rest"

	"image.alauda.io/registry/pkg/imageapiserver/storage/compress"
)

// sentinel is a record name that no object has; asking for it shows whether the storage answers.
const (
	sentinel         = "x--readiness"
	readinessTimeout = 2 * time.Second
)

// Config says which objects a Store keeps, and where.
type Config struct {
	// Client reaches kube-apiserver; see NewClient.
	Client rest.Interface
	// Records is the resource of the records, RecordKind its kind.
	Records    schema.GroupVersionResource
	RecordKind string
	// Namespaced tells whether objects and records live in namespaces.
	Namespaced bool
	// Codec encodes to the stored version and decodes to the internal one.
	Codec runtime.Codec
	// Compressor writes and reads payloads.
	Compressor *compress.Compressor
	// ResourcePrefix is the prefix of all storage keys, as registry stores make them.
	ResourcePrefix string
	// NewFunc returns an empty object.
	NewFunc func() runtime.Object
}

func (c Config) validate() error {
	switch {
	case c.Client == nil:
		return errors.New("crd storage: Client must be set")
	case c.Records.Resource == "" || c.RecordKind == "":
		return errors.New("crd storage: Records and RecordKind must be set")
	case c.Codec == nil || c.Compressor == nil || c.NewFunc == nil:
		return errors.New("crd storage: Codec, Compressor and NewFunc must be set")
	case len(c.ResourcePrefix) < 2 || c.ResourcePrefix[0] != '/':
		return fmt.Errorf("crd storage: resource prefix %q must start with / and name a resource", c.ResourcePrefix)
	}
	return nil
}

// Store implements storage.Interface.
type Store struct {
	config    Config
	versioner storage.APIObjectVersioner
}

var _ storage.Interface = (*Store)(nil)

// New returns a Store. It makes no request.
func New(config Config) (*Store, error) {
	if err := config.validate(); err != nil {
		return nil, err
	}
	registerMetrics()
	return &Store{config: config}, nil
}

// Versioner implements storage.Interface.
func (s *Store) Versioner() storage.Versioner { return s.versioner }

// Create implements storage.Interface. Objects never expire, so a ttl is refused.
func (s *Store) Create(ctx context.Context, key string, obj, out runtime.Object, ttl uint64) error {
	at, err := s.object(key)
	if err != nil {
		return err
	}
	if ttl != 0 {
		return fmt.Errorf("create %s: objects with a time to live are not supported", at.key)
	}
	if version, err := s.versioner.ObjectResourceVersion(obj); err == nil && version != 0 {
		return storage.ErrResourceVersionSetOnCreate
	}
	data, err := s.encode(obj)
	if err != nil {
		return err
	}
	created, err := s.create(ctx, at, obj, data)
	if err != nil {
		return err
	}
	if out == nil {
		return nil
	}
	_, err = s.decodeData(data, created.ResourceVersion, out)
	return err
}

func (s *Store) create(ctx context.Context, at location, obj runtime.Object, data []byte) (*record, error) {
	metadata, err := meta.Accessor(obj)
	if err != nil {
		return nil, err
	}
	return s.write(ctx, http.MethodPost, at, s.newRecord(at, data, metadata.GetLabels()))
}

// Get implements storage.Interface.
func (s *Store) Get(ctx context.Context, key string, opts storage.GetOptions, out runtime.Object) error {
	at, err := s.object(key)
	if err != nil {
		return err
	}
	if _, err := s.versioner.ParseResourceVersion(opts.ResourceVersion); err != nil {
		return apierrors.NewBadRequest(fmt.Sprintf("invalid resource version: %v", err))
	}
	found, err := s.getRecord(ctx, at, opts.ResourceVersion)
	if storage.IsNotFound(err) && opts.IgnoreNotFound {
		return runtime.SetZeroValue(out)
	}
	if err != nil {
		return err
	}
	if _, err := s.decode(found, out); err != nil {
		return storage.NewInternalError(err)
	}
	return nil
}

// Stats implements storage.Interface. Sizes are not estimated.
func (s *Store) Stats(ctx context.Context) (storage.Stats, error) {
	list, err := s.firstOfAll(ctx)
	if err != nil {
		return storage.Stats{}, err
	}
	count := int64(len(list.Items))
	if list.RemainingItemCount != nil {
		count += *list.RemainingItemCount
	}
	storedObjects.WithLabelValues(strings.TrimPrefix(s.config.Records.Resource, "stored")).Set(float64(count))
	return storage.Stats{ObjectCount: count}, nil
}

// GetCurrentResourceVersion implements storage.Interface.
func (s *Store) GetCurrentResourceVersion(ctx context.Context) (uint64, error) {
	list, err := s.firstOfAll(ctx)
	if err != nil {
		return 0, err
	}
	return s.versioner.ParseResourceVersion(list.ResourceVersion)
}

// firstOfAll lists one record, for what the list says about all of them.
func (s *Store) firstOfAll(ctx context.Context) (*recordList, error) {
	return s.listRecords(ctx, location{key: s.config.ResourcePrefix}, listParams{limit: 1})
}

// ReadinessCheck implements storage.Interface: the storage is ready when kube-apiserver answers a
// read with this server's identity and knows the record kind.
func (s *Store) ReadinessCheck() error {
	ctx, cancel := context.WithTimeout(context.Background(), readinessTimeout)
	defer cancel()
	at := location{key: s.config.ResourcePrefix + "/" + sentinel}
	if s.config.Namespaced {
		at.namespace = metav1.NamespaceDefault
	}
	_, err := s.doRecord(ctx, "ready", at, s.request(http.MethodGet, at).Name(sentinel))
	if err == nil || storage.IsNotFound(err) {
		return nil
	}
	return err
}

// RequestWatchProgress implements storage.Interface. Kube-apiserver sends bookmarks by itself.
func (s *Store) RequestWatchProgress(context.Context) error { return nil }

// EnableResourceSizeEstimation implements storage.Interface. Sizes are not estimated.
func (s *Store) EnableResourceSizeEstimation(storage.KeysFunc) error { return nil }

// CompactRevision implements storage.Interface. Compaction is kube-apiserver's affair.
func (s *Store) CompactRevision() int64 { return 0 }

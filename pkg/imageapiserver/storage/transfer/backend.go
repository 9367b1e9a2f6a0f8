package transfer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	genericapiserver "k8s.io/apiserver/pkg/server"
	genericoptions "k8s.io/apiserver/pkg/server/options"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/storage/storagebackend"
	"k8s.io/apiserver/pkg/storage/storagebackend/factory"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	storagev1 "image.alauda.io/api/storage/v1"
	"image.alauda.io/registry/pkg/imageapiserver/apigroup"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	imagestorage "image.alauda.io/registry/pkg/imageapiserver/storage"
	"image.alauda.io/registry/pkg/imageapiserver/storage/compress"
	"image.alauda.io/registry/pkg/imageapiserver/storage/crd"
)

// Names of the backends.
const (
	CRD  = "crd"
	Etcd = "etcd"
)

// etcdPrefix is where the server keeps its keys unless it is told otherwise.
const etcdPrefix = "/registry/image.alauda.io"

// Options say how to reach the backends.
type Options struct {
	// Kubeconfig is the path of a kubeconfig; empty takes KUBECONFIG, then the service account.
	Kubeconfig string
	// Compression says whether objects are written compressed. Both forms are read.
	Compression bool
	// Etcd are the library's options.
	Etcd *genericoptions.EtcdOptions
}

// NewOptions returns the defaults.
func NewOptions() *Options {
	etcd := genericoptions.NewEtcdOptions(storagebackend.NewDefaultConfig(etcdPrefix, nil))
	etcd.SkipHealthEndpoints = true
	// Compaction is the server's affair.
	etcd.StorageConfig.CompactionInterval = 0
	return &Options{Compression: true, Etcd: etcd}
}

// AddFlags adds the flags, named as those of the server.
func (o *Options) AddFlags(flags *pflag.FlagSet) {
	flags.StringVar(&o.Kubeconfig, "kubeconfig", o.Kubeconfig, "Kubeconfig of an administrator, for the storage crd; without it KUBECONFIG, then the service account.")
	flags.BoolVar(&o.Compression, "storage-compression", o.Compression, "Write objects compressed. Both forms can always be read.")
	all := pflag.NewFlagSet("etcd", pflag.ContinueOnError)
	o.Etcd.AddFlags(all)
	for _, name := range []string{"etcd-servers", "etcd-prefix", "etcd-cafile", "etcd-certfile", "etcd-keyfile", "encryption-provider-config"} {
		flags.AddFlag(all.Lookup(name))
	}
}

// Validate tells what is wrong with the options for the backends.
func (o *Options) Validate(backends ...string) error {
	var problems []error
	for _, backend := range backends {
		switch {
		case backend == Etcd && len(o.Etcd.StorageConfig.Transport.ServerList) == 0:
			problems = append(problems, errors.New("the storage etcd needs --etcd-servers"))
		case backend == Etcd:
			problems = append(problems, o.Etcd.Validate()...)
		case backend != CRD:
			problems = append(problems, fmt.Errorf("storage %q is neither %s nor %s", backend, CRD, Etcd))
		}
	}
	if len(o.Etcd.StorageConfig.Transport.ServerList) > 0 && !slices.Contains(backends, Etcd) {
		problems = append(problems, errors.New("--etcd-servers without the storage etcd"))
	}
	return utilerrors.NewAggregate(problems)
}

// ClientConfig is how to reach the cluster.
func (o *Options) ClientConfig() (*rest.Config, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = o.Kubeconfig
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("kubeconfig: %w", err)
	}
	return config, nil
}

// Store is all that one backend holds.
type Store struct {
	// Backend is CRD or Etcd.
	Backend   string
	resources []*resourceStore
}

// Close ends connections.
func (s *Store) Close() {
	for _, r := range s.resources {
		r.close()
	}
}

// Open opens a backend. What it needs of the cluster or the etcd is there already.
func (o *Options) Open(ctx context.Context, backend string) (*Store, error) {
	codecs, err := apigroup.NewCodecs(nil)
	if err != nil {
		return nil, err
	}
	compressor, err := compress.New(o.Compression)
	if err != nil {
		return nil, err
	}
	var open func(*resourceStore) error
	if backend == CRD {
		open, err = o.recordOpener(compressor)
	} else {
		open, err = o.etcdOpener(ctx, codecs, compressor)
	}
	if err != nil {
		return nil, err
	}
	result := &Store{Backend: backend}
	for _, resource := range imagestorage.Resources() {
		r := &resourceStore{
			Resource: resource, kind: strings.TrimPrefix(resource.RecordKind, "Stored"),
			prefix: "/" + resource.Resource.Group + "/" + resource.Resource.Resource,
			check: func(data []byte) (runtime.Object, error) {
				obj, _, err := codecs.Storage.Decode(data, nil, nil)
				return obj, err
			},
			close: func() {},
		}
		if err := open(r); err != nil {
			result.Close()
			return nil, fmt.Errorf("storage %s of %s: %w", backend, resource.Resource, err)
		}
		result.resources = append(result.resources, r)
	}
	return result, nil
}

func (o *Options) recordOpener(compressor *compress.Compressor) (func(*resourceStore) error, error) {
	config, err := o.ClientConfig()
	if err != nil {
		return nil, err
	}
	client, err := crd.NewClient(config, storagev1.SchemeGroupVersion)
	if err != nil {
		return nil, err
	}
	return func(r *resourceStore) error {
		store, err := crd.New(crd.Config{
			Client: client, Records: r.Records, RecordKind: r.RecordKind, Namespaced: r.Namespaced,
			Codec: verbatim{}, Compressor: compressor, ResourcePrefix: r.prefix, NewFunc: newObject,
		})
		if err != nil {
			return err
		}
		r.raw = store
		return store.ReadinessCheck()
	}, nil
}

func (o *Options) etcdOpener(ctx context.Context, codecs *apigroup.Codecs, compressor *compress.Compressor) (func(*resourceStore) error, error) {
	config := genericapiserver.NewConfig(codecs.Factory)
	etcdOptions := *o.Etcd
	etcdOptions.StorageConfig.Codec = verbatim{}
	if err := etcdOptions.ApplyTo(config); err != nil {
		return nil, err
	}
	getter := imagestorage.WithCompression(config.RESTOptionsGetter, compressor)
	return func(r *resourceStore) error {
		options, err := getter.GetRESTOptions(r.Resource.Resource, nil)
		if err != nil {
			return err
		}
		storageConfig := *options.StorageConfig
		storageConfig.Codec = verbatim{}
		storageConfig.Transformer = reportDamage{storageConfig.Transformer}
		raw, destroy, err := factory.Create(storageConfig, newObject, func() runtime.Object { return &objectList{} }, r.prefix)
		if err != nil {
			return err
		}
		r.raw, r.close = raw, destroy
		return answers(ctx, raw, r.prefix)
	}, nil
}

// answers makes one small read, so that a wrong address fails before anything is written.
func answers(ctx context.Context, raw storage.Interface, prefix string) error {
	predicate := storage.Everything
	predicate.Limit = 1
	return raw.GetList(ctx, prefix+"/", storage.ListOptions{Recursive: true, Predicate: predicate}, &objectList{})
}

func newObject() runtime.Object { return &object{} }

// ofKind returns the store of a kind.
func (s *Store) ofKind(kind metav1.TypeMeta) (*resourceStore, error) {
	for _, r := range s.resources {
		if r.kind == kind.Kind && kind.APIVersion == imageapi.GroupName+"/v1" {
			return r, nil
		}
	}
	return nil, fmt.Errorf("objects of %s %s are not stored", kind.APIVersion, kind.Kind)
}

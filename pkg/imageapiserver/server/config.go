package server

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
	utilversion "k8s.io/apimachinery/pkg/util/version"
	"k8s.io/apiserver/pkg/endpoints/openapi"
	"k8s.io/apiserver/pkg/features"
	genericapiserver "k8s.io/apiserver/pkg/server"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/transport"
	basecompatibility "k8s.io/component-base/compatibility"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/imageapiserver/apigroup"
	imageopenapi "image.alauda.io/registry/pkg/imageapiserver/openapi"
	"image.alauda.io/registry/pkg/imageapiserver/serverconfig"
	"image.alauda.io/registry/pkg/imageapiserver/storage"
	"image.alauda.io/registry/pkg/imageapiserver/storage/compress"
	"image.alauda.io/registry/pkg/logging"
	"image.alauda.io/registry/pkg/version"
)

// Config is everything that a server is built from.
type Config struct {
	generic    *genericapiserver.RecommendedConfig
	codecs     *apigroup.Codecs
	source     *serverconfig.Source
	compressor *compress.Compressor
	client     kubernetes.Interface
	// clusterDomain is the DNS domain behind ".svc" in the names of the cluster's services.
	clusterDomain     string
	controllerOptions *ControllerOptions
	importCADir       string
	// events tells owners of objects what happened to them.
	events record.EventRecorder
	// webhookAddress is where webhooks listen, empty for nowhere.
	webhookAddress string
	// sizes tell admission how large known images are.
	sizes *lateIndex
}

// NewConfig turns options into a configuration. It talks to the cluster: it checks its version and
// settings, and waits for the record kinds when they hold the storage.
func NewConfig(ctx context.Context, o *Options) (*Config, error) {
	source, err := serverconfig.NewSource(o.ConfigFile)
	if err != nil {
		return nil, err
	}
	compressor, err := compress.New(o.Compression)
	if err != nil {
		return nil, err
	}
	// Tags without import mode get the one that is configured at that moment.
	codecs, err := apigroup.NewCodecs(func() imagev1.ImportModeType {
		return imagev1.ImportModeType(source.Current().ImageImport.DefaultImportMode)
	})
	if err != nil {
		return nil, err
	}
	c := &Config{
		generic: genericapiserver.NewRecommendedConfig(codecs.Factory),
		codecs:  codecs, source: source, compressor: compressor,
		clusterDomain: clusterDomain(o.ResolvConf), controllerOptions: o.Controllers, importCADir: o.ImportCADir, webhookAddress: webhookAddress(o),
	}
	if err := o.Run.ApplyTo(&c.generic.Config); err != nil {
		return nil, err
	}
	c.generic.EffectiveVersion = effectiveVersion()
	hanging := logging.Hanging(klog.FromContext(ctx), clock.RealClock{}, logging.HangingAfter)
	answerInTime(&c.generic.Config)
	sayFarewell(&c.generic.Config, clock.RealClock{})
	setOpenAPI(&c.generic.Config, codecs.Scheme)
	if err := c.connect(ctx, o, hanging); err != nil {
		return nil, err
	}
	if err := c.secure(o, hanging); err != nil {
		return nil, err
	}
	if err := c.control(ctx, o); err != nil {
		return nil, err
	}
	return c, c.store(ctx, o)
}

// effectiveVersion is the server's own version; what it can do follows the library's.
func effectiveVersion() basecompatibility.EffectiveVersion {
	own, err := utilversion.ParseSemantic(version.Get().Version)
	if err != nil {
		own = utilversion.MustParse("0.0.0")
	}
	return basecompatibility.NewEffectiveVersion(own, false, own, own)
}

func setOpenAPI(config *genericapiserver.Config, scheme *runtime.Scheme) {
	const title = "Alauda Image API"
	names := openapi.NewDefinitionNamer(scheme)
	config.OpenAPIConfig = genericapiserver.DefaultOpenAPIConfig(imageopenapi.GetOpenAPIDefinitions, names)
	config.OpenAPIConfig.Info.Title, config.OpenAPIConfig.Info.Version = title, imagev1.SchemeGroupVersion.Version
	config.OpenAPIV3Config = genericapiserver.DefaultOpenAPIV3Config(imageopenapi.GetOpenAPIDefinitions, names)
	config.OpenAPIV3Config.Info.Title, config.OpenAPIV3Config.Info.Version = title, imagev1.SchemeGroupVersion.Version
}

// connect makes the clients and checks the cluster.
func (c *Config) connect(ctx context.Context, o *Options, hanging transport.WrapperFunc) error {
	if err := o.EgressSelector.ApplyTo(&c.generic.Config); err != nil {
		return err
	}
	if err := o.Traces.ApplyTo(c.generic.EgressSelector, &c.generic.Config); err != nil {
		return err
	}
	if err := o.CoreAPI.ApplyTo(c.generic); err != nil {
		return err
	}
	c.generic.ClientConfig.UserAgent = version.UserAgent(ComponentName)
	// Kube-apiserver's priority and fairness decides, not a throttle on this side.
	c.generic.ClientConfig.QPS = -1
	c.generic.ClientConfig.Wrap(hanging)
	var err error
	if c.client, err = kubernetes.NewForConfig(c.generic.ClientConfig); err != nil {
		return err
	}
	c.events = newEventRecorder(c.client, c.codecs.Scheme)
	return checkCluster(ctx, c.client)
}

// secure sets up serving, authentication, authorization and audit.
func (c *Config) secure(o *Options, hanging transport.WrapperFunc) error {
	o.Authentication.WithCustomRoundTripper(hanging)
	o.Authorization.WithCustomRoundTripper(hanging)
	if err := o.SecureServing.ApplyToConfig(&c.generic.Config); err != nil {
		return err
	}
	if err := o.Authentication.ApplyTo(&c.generic.Authentication, c.generic.SecureServing, c.generic.OpenAPIConfig); err != nil {
		return err
	}
	if headers := c.generic.Authentication.RequestHeaderConfig; headers != nil {
		c.generic.AddReadyzChecks(requestHeaderCheck(headers.CAContentProvider))
	}
	if err := o.Authorization.ApplyTo(&c.generic.Authorization); err != nil {
		return err
	}
	answerUnreviewed(&c.generic.Config)
	return applyAudit(*o.Audit, &c.generic.Config)
}

// control sets up flow control and admission, as far as the cluster serves what they need.
func (c *Config) control(ctx context.Context, o *Options) error {
	featureOptions := *o.Features
	if featureOptions.EnablePriorityAndFairness {
		allowed, err := mayUseFlowControl(ctx, c.client)
		if err != nil {
			return err
		}
		featureOptions.EnablePriorityAndFairness = allowed
	}
	if err := featureOptions.ApplyTo(&c.generic.Config, c.client, c.generic.SharedInformerFactory); err != nil {
		return err
	}
	missing, err := unavailablePlugins(c.client.Discovery())
	if err != nil {
		return err
	}
	admissionOptions := *o.Admission
	for _, plugin := range missing {
		klog.InfoS("Admission plugin is off: this cluster does not serve its objects", "plugin", plugin)
	}
	admissionOptions.DisablePlugins = append(append([]string(nil), o.Admission.DisablePlugins...), missing...)
	dynamicClient, err := dynamic.NewForConfig(c.generic.ClientConfig)
	if err != nil {
		return err
	}
	kubeVersion := o.Run.ComponentGlobalsRegistry.EffectiveVersionFor(basecompatibility.DefaultKubeComponent)
	return admissionOptions.ApplyTo(&c.generic.Config, c.generic.SharedInformerFactory, c.client, dynamicClient,
		utilfeature.DefaultFeatureGate, kubeVersion, c.imageLimitRange())
}

// store sets up the storage backend.
func (c *Config) store(ctx context.Context, o *Options) error {
	if o.Storage == StorageEtcd {
		return c.storeInEtcd(o)
	}
	if err := switchOffForRecords(); err != nil {
		return err
	}
	if err := waitForRecords(ctx, c.client.Discovery()); err != nil {
		return err
	}
	getter, err := storage.NewCRDGetter(rest.CopyConfig(c.generic.ClientConfig), c.codecs.Storage, c.compressor)
	if err != nil {
		return err
	}
	c.generic.RESTOptionsGetter = getter
	c.generic.AddReadyzChecks(recordsCheck(getter))
	return nil
}

func (c *Config) storeInEtcd(o *Options) error {
	etcdOptions := *o.Etcd
	etcdOptions.StorageConfig.Codec = c.codecs.Storage
	if err := addEtcdChecks(&c.generic.Config, etcdOptions.StorageConfig); err != nil {
		return err
	}
	if err := etcdOptions.ApplyTo(&c.generic.Config); err != nil {
		return err
	}
	c.generic.RESTOptionsGetter = storage.WithCompression(c.generic.RESTOptionsGetter, c.compressor)
	return nil
}

// switchOffForRecords switches off what custom resources cannot give: initial events in watches,
// snapshots of the watch cache, its comparison with the storage, and deletion of damaged objects.
func switchOffForRecords() error {
	err := utilfeature.DefaultMutableFeatureGate.SetFromMap(map[string]bool{
		string(features.WatchList):                          false,
		string(features.ListFromCacheSnapshot):              false,
		string(features.DetectCacheInconsistency):           false,
		string(features.AllowUnsafeMalformedObjectDeletion): false,
	})
	if err != nil {
		return fmt.Errorf("feature gates for --image-storage=%s: %w", StorageCRD, err)
	}
	return nil
}

package registryconfig

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"
	"sort"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	corelisters "k8s.io/client-go/listers/core/v1"
	discoverylisters "k8s.io/client-go/listers/discovery/v1"
	networkinglisters "k8s.io/client-go/listers/networking/v1"
	storagelisters "k8s.io/client-go/listers/storage/v1"
	"k8s.io/client-go/tools/cache"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/fault"
	"image.alauda.io/registry/pkg/operator/render"
	"image.alauda.io/registry/pkg/operator/storage"
)

// httpSecretBytes is the length of the key that signs upload state.
const httpSecretBytes = 64

// The cluster's default StorageClass is marked by one of these; Kubernetes knows both.
const (
	defaultClassAnnotation    = "storageclass.kubernetes.io/is-default-class"
	oldDefaultClassAnnotation = "storageclass.beta.kubernetes.io/is-default-class"
)

type listers struct {
	secrets    corelisters.SecretNamespaceLister
	configMaps corelisters.ConfigMapNamespaceLister
	claims     corelisters.PersistentVolumeClaimNamespaceLister
	slices     discoverylisters.EndpointSliceNamespaceLister
	nodes      corelisters.NodeLister
	namespaces corelisters.NamespaceLister
	classes    storagelisters.StorageClassLister
	// ingresses are all of the namespace, other people's too.
	ingresses      networkinglisters.IngressNamespaceLister
	ingressClasses networkinglisters.IngressClassLister
	informers      []cache.SharedIndexInformer
}

func newListers(o Options) listers {
	ns, core := o.Settings.Namespace, o.Namespaced.Core().V1()
	cluster := o.Cluster.Core().V1()
	discovery := o.Namespaced.Discovery().V1().EndpointSlices()
	classes := o.Cluster.Storage().V1().StorageClasses()
	ingresses := o.Namespaced.Networking().V1().Ingresses()
	ingressClasses := o.Cluster.Networking().V1().IngressClasses()
	return listers{
		secrets:    core.Secrets().Lister().Secrets(ns),
		configMaps: core.ConfigMaps().Lister().ConfigMaps(ns),
		claims:     core.PersistentVolumeClaims().Lister().PersistentVolumeClaims(ns),
		slices:     discovery.Lister().EndpointSlices(ns),
		nodes:      cluster.Nodes().Lister(),
		namespaces: cluster.Namespaces().Lister(),
		classes:    classes.Lister(),
		ingresses:  ingresses.Lister().Ingresses(ns), ingressClasses: ingressClasses.Lister(),
		// Nodes and Namespaces have handlers of their own, because most of their events mean nothing here.
		informers: []cache.SharedIndexInformer{
			core.Secrets().Informer(), core.ConfigMaps().Informer(), core.Services().Informer(),
			core.PersistentVolumeClaims().Informer(), discovery.Informer(), classes.Informer(),
			ingresses.Informer(), ingressClasses.Informer(),
		},
	}
}

// observeTrust gathers what the trust of Pods and nodes depends on, which has to follow the signer whatever else
// is wrong.
func (c *Controller) observeTrust(ctx context.Context, config *registryv1.Config, in *render.Inputs) error {
	in.Bundle = c.bundle()
	published, err := live[corev1.ConfigMap](ctx, c, "ConfigMap", registryv1.ConfigMapCertificates)
	if err != nil {
		return err
	}
	if published != nil {
		in.Published = published.Data
		in.StorageBundle = published.Data[registryv1.KeyStorageCABundle]
	}
	if name := config.Spec.AdditionalTrustedCA.Name; name == registryv1.ConfigMapCertificates {
		in.AdditionalCAMissing = true // what was published once would come back for ever
	} else if name != "" {
		configMap, err := c.listers.configMaps.Get(name)
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("read ConfigMap %s: %w", name, err)
		}
		in.AdditionalCAMissing = err != nil
		if err == nil {
			in.AdditionalCA = configMap.Data
		}
	}
	// Read past the listers, which may not have seen yet what this very sync has created.
	service, err := live[corev1.Service](ctx, c, "Service", registryv1.RegistryName)
	if err != nil {
		return err
	}
	if service != nil {
		in.ClusterIPs = slices.DeleteFunc(slices.Clone(service.Spec.ClusterIPs), func(ip string) bool { return ip == "" || ip == corev1.ClusterIPNone })
	}
	nodes, err := c.listers.nodes.List(labels.Everything())
	if err != nil {
		return fmt.Errorf("list nodes: %w", err)
	}
	in.Runtimes, in.Zones = describeNodes(nodes)
	return nil
}

// mostUnusable is how many keys without use are told of; who corrects them sees the rest.
const mostUnusable = 3

// additionalCAFault tells of a ConfigMap that spec.additionalTrustedCA names and that is missing, empty, or has keys
// that nobody can use.
func (c *Controller) additionalCAFault(in render.Inputs) error {
	name := in.Config.Spec.AdditionalTrustedCA.Name
	switch {
	case name == "":
		return nil
	case name == registryv1.ConfigMapCertificates:
		return fault.Permanentf(registryv1.ReasonTrustedCANotFound,
			"spec.additionalTrustedCA.name of Config cluster is %s, which the operator itself writes; name a ConfigMap of your own in namespace %s, until then what it held before stays trusted", name, c.Settings.Namespace)
	case len(in.AdditionalCA) > 0:
		unusable := render.UnusableCertificates(in, c.Clock.Now())
		if len(unusable) == 0 {
			return nil
		}
		if rest := len(unusable) - mostUnusable; rest > 0 {
			unusable = append(unusable[:mostUnusable:mostUnusable], fmt.Sprintf("and %d more", rest))
		}
		return fault.Permanentf(registryv1.ReasonTrustedCANotFound,
			"spec.additionalTrustedCA.name: ConfigMap %s in namespace %s has keys without effect (%s); write each as host or host..port with certificates in PEM, or remove it",
			name, c.Settings.Namespace, strings.Join(unusable, ", "))
	}
	kept := ""
	if in.AdditionalCAMissing {
		kept = "; until then what it held before stays trusted"
	}
	return fault.Permanentf(registryv1.ReasonTrustedCANotFound,
		"spec.additionalTrustedCA.name: ConfigMap %s does not exist in namespace %s or is empty; create it, or clear the field%s", name, c.Settings.Namespace, kept)
}

// observe gathers everything else but the storage plan. With an error the inputs are good for the API server, but
// not for the registry.
func (c *Controller) observe(ctx context.Context, config *registryv1.Config, in *render.Inputs) (err error) {
	in.HasPullSecret = c.secret(registryv1.SecretInstallationPull) != nil
	in.TrustedCA = c.configMapData(registryv1.ConfigMapTrustedCA)
	if in.HTTPSecret, err = c.httpSecret(ctx); err != nil {
		return err
	}
	if user := c.secret(registryv1.SecretPrivateConfigUser); user != nil {
		in.UserPrivate = user.Data
	}
	if in.OIDC, err = c.oidc(ctx, config); err != nil {
		return err
	}
	if name := in.OIDC.CAConfigMap; name != "" {
		in.OIDCCA = c.configMapData(name)
	}
	return nil
}

// describeNodes returns the distinct container runtimes, sorted, and whether some node names its zone.
func describeNodes(nodes []*corev1.Node) (runtimes []string, zones bool) {
	seen := map[string]bool{}
	for _, node := range nodes {
		if version := node.Status.NodeInfo.ContainerRuntimeVersion; version != "" && !seen[version] {
			seen[version] = true
			runtimes = append(runtimes, version)
		}
		zones = zones || node.Labels[corev1.LabelTopologyZone] != ""
	}
	sort.Strings(runtimes)
	return runtimes, zones
}

// secret returns nil for a Secret that does not exist; a lister fails in no other way.
func (c *Controller) secret(name string) *corev1.Secret {
	secret, err := c.listers.secrets.Get(name)
	if err != nil {
		return nil
	}
	return secret
}

// configMapData returns nil for a ConfigMap that does not exist or is empty.
func (c *Controller) configMapData(name string) map[string]string {
	configMap, err := c.listers.configMaps.Get(name)
	if err != nil || len(configMap.Data) == 0 {
		return nil
	}
	return configMap.Data
}

func (c *Controller) bundle() string {
	return c.configMapData(registryv1.ConfigMapServiceCA)[registryv1.KeyServiceCA]
}

// httpSecret keeps the key that exists: a new one would void every upload in progress.
// A lister might not have seen it yet.
func (c *Controller) httpSecret(ctx context.Context) (string, error) {
	existing, err := live[corev1.Secret](ctx, c, "Secret", registryv1.SecretPrivateConfig)
	if err != nil {
		return "", err
	}
	if existing != nil {
		if key := existing.Data[registryv1.KeyHTTPSecret]; len(key) > 0 {
			return string(key), nil
		}
	}
	random := make([]byte, httpSecretBytes)
	if _, err := rand.Read(random); err != nil {
		return "", fmt.Errorf("random key for upload state: %w", err)
	}
	return hex.EncodeToString(random), nil
}

// oidc takes the settings from the spec, else from the cluster's global-info.
func (c *Controller) oidc(ctx context.Context, config *registryv1.Config) (registryv1.OIDCSpec, error) {
	spec := config.Spec.Auth.OIDC
	if spec.IssuerURL != "" {
		return spec, nil
	}
	info, err := c.Kube.CoreV1().ConfigMaps(metav1.NamespacePublic).Get(ctx, "global-info", metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return spec, nil
	}
	if err != nil {
		return spec, fmt.Errorf("read ConfigMap %s/global-info: %w", metav1.NamespacePublic, err)
	}
	spec.IssuerURL = strings.TrimSpace(info.Data["oidcIssuer"])
	if spec.ClientID == "" {
		spec.ClientID = strings.TrimSpace(info.Data["oidcClientID"])
	}
	return spec, nil
}

// storageFacts gathers what the storage decision needs.
func (c *Controller) storageFacts(config *registryv1.Config) (storage.Facts, error) {
	facts := storage.Facts{Namespace: c.Settings.Namespace}
	if user := c.secret(registryv1.SecretPrivateConfigUser); user != nil {
		facts.User = user.Data
	}
	if name := storage.TrustedCAName(config.Spec.Storage); name != "" {
		facts.StorageCA = c.configMapData(name)
	}
	if name := storage.ClaimName(config.Spec.Storage); name != "" {
		claim, err := c.listers.claims.Get(name)
		if err != nil && !apierrors.IsNotFound(err) {
			return facts, fmt.Errorf("read PersistentVolumeClaim %s: %w", name, err)
		}
		if err == nil {
			facts.Claim = claim
		}
	}
	classes, err := c.listers.classes.List(labels.Everything())
	if err != nil {
		return facts, fmt.Errorf("list storage classes: %w", err)
	}
	for _, class := range classes {
		facts.Classes = append(facts.Classes, class.Name)
		facts.HasDefaultClass = facts.HasDefaultClass || class.Annotations[defaultClassAnnotation] == "true" || class.Annotations[oldDefaultClassAnnotation] == "true"
	}
	return facts, nil
}

// certificatesReady says which serving certificate is still missing.
func (c *Controller) certificatesReady() error {
	for _, name := range []string{registryv1.SecretRegistryTLS, registryv1.SecretImageAPITLS} {
		secret := c.secret(name)
		if secret == nil || len(secret.Data[corev1.TLSCertKey]) == 0 || len(secret.Data[corev1.TLSPrivateKeyKey]) == 0 {
			return fault.WaitingFor("serving certificate Secret %s", name)
		}
	}
	if c.bundle() == "" {
		return fault.WaitingFor("the trust bundle in ConfigMap %s", registryv1.ConfigMapServiceCA)
	}
	return nil
}

// apiServerReady says whether the Service of the API server has a ready endpoint.
func (c *Controller) apiServerReady() (bool, error) {
	selector := labels.SelectorFromSet(labels.Set{"kubernetes.io/service-name": registryv1.ImageAPIName})
	found, err := c.listers.slices.List(selector)
	if err != nil {
		return false, fmt.Errorf("list endpoints of Service %s: %w", registryv1.ImageAPIName, err)
	}
	for _, slice := range found {
		for _, endpoint := range slice.Endpoints {
			if endpoint.Conditions.Ready == nil || *endpoint.Conditions.Ready {
				return true, nil
			}
		}
	}
	return false, nil
}

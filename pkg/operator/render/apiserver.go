package render

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/ptr"

	configv1 "image.alauda.io/api/config/v1"
	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/manifests"
	"image.alauda.io/registry/pkg/operator/fault"
	"image.alauda.io/registry/pkg/operator/imagestorage"
)

// APIServerStorage returns what must exist before the API server starts: the hidden records, flow control
// and the guard of the records.
func APIServerStorage(s Settings) (records, guards []*unstructured.Unstructured, err error) {
	files, err := manifests.OperandFiles(manifests.ImageAPIServer)
	if err != nil {
		return nil, nil, err
	}
	for _, file := range files {
		if !strings.HasPrefix(path.Base(file), "crd-") {
			continue
		}
		objects, err := s.several(manifests.ImageAPIServer, file)
		if err != nil {
			return nil, nil, err
		}
		records = append(records, objects...)
	}
	guards, err = s.several(manifests.ImageAPIServer, "flowcontrol.yaml", "storage-guard.yaml")
	return records, guards, err
}

// APIServerDeployment is the whole Deployment image-api-server.
func APIServerDeployment(in Inputs) (*unstructured.Unstructured, error) {
	deployment, err := typed[appsv1.Deployment](in.Settings, manifests.ImageAPIServer, "deployment.yaml")
	if err != nil {
		return nil, err
	}
	config := in.Config.Spec.ImageAPI
	deployment.Spec.Replicas = ptr.To(ImageAPIReplicas(in.Config.Spec))
	pod := &deployment.Spec.Template.Spec
	container := &pod.Containers[0]
	container.Image = in.Images.APIServer
	container.Args = []string{
		"--secure-port=8443",
		"--webhook-port=9443",
		"--tls-cert-file=/var/run/serving-cert/tls.crt",
		"--tls-private-key-file=/var/run/serving-cert/tls.key",
		"--config=/etc/image-api-server/config.yaml",
	}
	container.Args = append(container.Args, storageArguments(in.ImageStorage.Etcd)...)
	container.Args = append(container.Args, "--v="+strconv.Itoa(Verbosity(in.Config.Spec.LogLevel)))
	proxy, err := in.proxyEnv(in.ImageStorage.Etcd.Hosts()...)
	if err := errors.Join(err, in.checkTrustedCA(), checkEnv(proxy), checkMemory("Config cluster", "spec.imageAPI.resources", config.Resources)); err != nil {
		return nil, err
	}
	container.Env = append(container.Env, literal(proxy)...)
	if config.Resources != nil {
		container.Resources = *config.Resources
	}
	pod.NodeSelector = linux(config.NodeSelector)
	pod.Tolerations = slices.Clone(config.Tolerations)
	pod.PriorityClassName = in.PriorityClass
	setAnnotations(&deployment.ObjectMeta, map[string]string{registryv1.VersionAnnotation: in.Version, registryv1.ImageStorageAnnotation: in.ImageStorage.Place})
	dependencies := []dependency{{"configmap", registryv1.ConfigMapTrustedCA, texts(in.TrustedCA)}}
	if etcd := in.ImageStorage.Etcd; etcd != nil {
		mountEtcd(pod, container, etcd.SecretName)
		dependencies = append(dependencies, dependency{"secret", etcd.SecretName, etcd.Secret})
	}
	setAnnotations(&deployment.Spec.Template.ObjectMeta, map[string]string{
		registryv1.DependenciesChecksumAnnotation: checksum(dependencies...),
	})
	return untyped(deployment)
}

// etcdPath is where the server finds the certificates for an etcd.
const etcdPath = "/var/run/secrets/etcd"

// storageArguments tell the server where the metadata lies.
func storageArguments(etcd *imagestorage.Etcd) []string {
	if etcd == nil {
		return []string{"--image-storage=crd"}
	}
	return []string{
		"--image-storage=etcd",
		"--etcd-servers=" + strings.Join(etcd.Servers, ","),
		"--etcd-prefix=" + etcd.Prefix,
		"--etcd-cafile=" + path.Join(etcdPath, imagestorage.KeyCA),
		"--etcd-certfile=" + path.Join(etcdPath, imagestorage.KeyCertificate),
		"--etcd-keyfile=" + path.Join(etcdPath, imagestorage.KeyPrivate),
	}
}

// mountEtcd mounts the three keys alone: whatever else is in the Secret is none of the server's business.
func mountEtcd(pod *corev1.PodSpec, container *corev1.Container, secret string) {
	var items []corev1.KeyToPath
	for _, key := range []string{imagestorage.KeyCA, imagestorage.KeyCertificate, imagestorage.KeyPrivate} {
		items = append(items, corev1.KeyToPath{Key: key, Path: key})
	}
	pod.Volumes = append(pod.Volumes, corev1.Volume{Name: "etcd-client", VolumeSource: corev1.VolumeSource{
		Secret: &corev1.SecretVolumeSource{SecretName: secret, Items: items},
	}})
	container.VolumeMounts = append(container.VolumeMounts, corev1.VolumeMount{Name: "etcd-client", MountPath: etcdPath, ReadOnly: true})
}

// ImageAPIReplicas is the number of API servers.
func ImageAPIReplicas(spec registryv1.ConfigSpec) int32 {
	if spec.ImageAPI.Replicas == nil {
		return registryv1.DefaultImageAPIReplicas
	}
	return *spec.ImageAPI.Replicas
}

// APIServerBudget is the PodDisruptionBudget of the API server.
func APIServerBudget(in Inputs) (*unstructured.Unstructured, error) {
	return budget(in.Settings, manifests.ImageAPIServer, ImageAPIReplicas(in.Config.Spec))
}

// APIService registers the Image API. It is never rendered without a CA.
func APIService(s Settings, bundle string) (*unstructured.Unstructured, error) {
	if bundle == "" {
		return nil, fault.WaitingFor("the trust bundle in ConfigMap %s", registryv1.ConfigMapServiceCA)
	}
	service, err := s.single(manifests.ImageAPIServer, "apiservice.yaml")
	if err != nil {
		return nil, err
	}
	if err := unstructured.SetNestedField(service.Object, encode(bundle), "spec", "caBundle"); err != nil {
		return nil, fmt.Errorf("APIService %s: %w", service.GetName(), err)
	}
	return service, nil
}

// APIServerConfig is ConfigMap image-api-server-config.
func APIServerConfig(in Inputs) (*unstructured.Unstructured, error) {
	text, err := in.apiServerText()
	if err != nil {
		return nil, err
	}
	return in.configMap(registryv1.ConfigMapImageAPIConfig, "api-server", map[string]string{registryv1.KeyImageAPIConfig: text})
}

// apiServerSettings are the keys that have a field in Config. All others keep the server's defaults, so they
// are not written at all.
func apiServerSettings(in Inputs) (map[string]any, error) {
	spec := in.Config.Spec.ImageAPI
	imports := map[string]any{"defaultImportMode": importMode(spec)}
	if len(spec.AllowedRegistriesForImport) > 0 {
		text, err := json.Marshal(spec.AllowedRegistriesForImport)
		if err != nil {
			return nil, fmt.Errorf("spec.imageAPI.allowedRegistriesForImport: %w", err)
		}
		var allowed []any
		if err := json.Unmarshal(text, &allowed); err != nil {
			return nil, fmt.Errorf("spec.imageAPI.allowedRegistriesForImport: %w", err)
		}
		imports["allowedRegistriesForImport"] = allowed
	}
	if in.HasPullSecret {
		imports["credentialsSecret"] = registryv1.SecretInstallationPull
	}
	settings := map[string]any{
		"apiVersion":               configv1.APIVersion,
		"kind":                     configv1.Kind,
		"internalRegistryHostname": in.InternalHost(),
		"imageImport":              imports,
		"imageLookup":              map[string]any{"enabled": ImageLookup(in.Config.Spec)},
	}
	if len(in.ExternalHosts) > 0 {
		hosts := make([]any, len(in.ExternalHosts))
		for i, host := range in.ExternalHosts {
			hosts[i] = host
		}
		settings["externalRegistryHostnames"] = hosts
	}
	return settings, nil
}

func importMode(spec registryv1.ImageAPISpec) string {
	if spec.ImportMode == "" {
		return "PreserveOriginal"
	}
	return spec.ImportMode
}

// merge writes over into, object by object; lists and scalars are replaced.
func merge(into, over map[string]any) {
	for key, value := range over {
		below, isObject := value.(map[string]any)
		existing, wasObject := into[key].(map[string]any)
		if isObject && wasObject {
			merge(existing, below)
			continue
		}
		into[key] = value
	}
}

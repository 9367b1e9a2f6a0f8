package render

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/manifests"
	"image.alauda.io/registry/pkg/operator/fault"
	"image.alauda.io/registry/pkg/operator/storage"
)

// RegistryDeployment is the whole Deployment image-registry.
func RegistryDeployment(in Inputs) (*unstructured.Unstructured, error) {
	deployment, err := typed[appsv1.Deployment](in.Settings, manifests.ImageRegistry, "deployment.yaml")
	if err != nil {
		return nil, err
	}
	overrides, err := ParseOverrides(in.Config.Spec.UnsupportedConfigOverrides)
	if err != nil {
		return nil, err
	}
	env, err := RegistryEnv(in)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(in.checkTrustedCA(), in.checkOIDCCA(), checkEnv(env), checkMemory("Config cluster", "spec.resources", in.Config.Spec.Resources)); err != nil {
		return nil, err
	}
	spec, config := &deployment.Spec, in.Config.Spec
	spec.Replicas = ptr.To(in.Storage.Replicas)
	spec.Strategy, spec.ProgressDeadlineSeconds = rollout(in.Storage)

	pod := &spec.Template.Spec
	container := &pod.Containers[0]
	container.Image = in.Images.Registry
	container.Env = literal(env)
	if config.Resources != nil {
		container.Resources = *config.Resources
	}
	if in.Storage.Volume != nil {
		pod.Volumes = append([]corev1.Volume{{Name: storage.VolumeName, VolumeSource: *in.Storage.Volume}}, pod.Volumes...)
		container.VolumeMounts = append([]corev1.VolumeMount{{Name: storage.VolumeName, MountPath: storage.MountPath}}, container.VolumeMounts...)
	}
	if in.OIDC.IssuerURL != "" && in.OIDC.CAConfigMap != "" {
		mountOIDCCA(pod, container, in.OIDC.CAConfigMap)
	}
	placeRegistry(pod, in)
	pod.PriorityClassName = in.PriorityClass
	pod.RuntimeClassName = overrides.RuntimeClassName

	private, err := PrivateData(in)
	if err != nil {
		return nil, err
	}
	annotations := map[string]string{}
	for key, value := range overrides.Annotations {
		annotations[key] = value
	}
	setAnnotations(&deployment.ObjectMeta, annotations)
	deployment.Annotations[registryv1.VersionAnnotation] = in.Version
	deployment.Annotations[registryv1.StorageIdentityAnnotation] = storage.Identity(&in.Storage.Effective)
	if in.StorageTested != "" {
		deployment.Annotations[registryv1.StorageTestedAnnotation] = in.StorageTested
	}
	setAnnotations(&spec.Template.ObjectMeta, annotations)
	spec.Template.Annotations[registryv1.DependenciesChecksumAnnotation] = checksum(
		dependency{"secret", registryv1.SecretPrivateConfig, private},
		dependency{"configmap", registryv1.ConfigMapTrustedCA, texts(in.TrustedCA)},
		dependency{"configmap", registryv1.ConfigMapCertificates, storageCA(in.StorageBundle)},
		dependency{"configmap", in.OIDC.CAConfigMap, texts(in.OIDCCA)},
	)
	return untyped(deployment)
}

// rollout is the strategy and how long it may take: a volume that moves between nodes takes minutes.
func rollout(plan storage.Plan) (appsv1.DeploymentStrategy, *int32) {
	if plan.Strategy == storage.Recreate {
		return appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType}, ptr.To[int32](600)
	}
	surge, unavailable := intstr.FromString("25%"), intstr.FromInt32(1)
	switch {
	case plan.Replicas <= 1:
		surge, unavailable = intstr.FromInt32(1), intstr.FromInt32(0)
	case plan.Replicas == 2:
		surge = intstr.FromInt32(1)
	}
	return appsv1.DeploymentStrategy{
		Type:          appsv1.RollingUpdateDeploymentStrategyType,
		RollingUpdate: &appsv1.RollingUpdateDeployment{MaxSurge: &surge, MaxUnavailable: &unavailable},
	}, ptr.To[int32](300)
}

func mountOIDCCA(pod *corev1.PodSpec, container *corev1.Container, configMap string) {
	pod.Volumes = append(pod.Volumes, corev1.Volume{Name: "oidc-ca", VolumeSource: corev1.VolumeSource{
		ConfigMap: &corev1.ConfigMapVolumeSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: configMap},
			Items:                []corev1.KeyToPath{{Key: "ca.crt", Path: "ca.crt"}},
			Optional:             ptr.To(true),
		},
	}})
	container.VolumeMounts = append(container.VolumeMounts, corev1.VolumeMount{Name: "oidc-ca", MountPath: "/etc/image-registry/oidc", ReadOnly: true})
}

func placeRegistry(pod *corev1.PodSpec, in Inputs) {
	config := in.Config.Spec
	pod.NodeSelector = linux(config.NodeSelector)
	pod.Tolerations = slices.Clone(config.Tolerations)
	if config.Affinity != nil {
		pod.Affinity = config.Affinity.DeepCopy()
	}
	switch {
	case config.TopologySpreadConstraints != nil:
		pod.TopologySpreadConstraints = slices.Clone(config.TopologySpreadConstraints)
	case in.Zones:
		zone := *pod.TopologySpreadConstraints[0].DeepCopy()
		zone.TopologyKey = corev1.LabelTopologyZone
		zone.WhenUnsatisfiable = corev1.ScheduleAnyway
		pod.TopologySpreadConstraints = append(pod.TopologySpreadConstraints, zone)
	}
}

// linux adds the operating system unless the selector names one.
func linux(selector map[string]string) map[string]string {
	out := map[string]string{corev1.LabelOSStable: "linux"}
	for key, value := range selector {
		out[key] = value
	}
	return out
}

func setAnnotations(meta *metav1.ObjectMeta, annotations map[string]string) {
	if meta.Annotations == nil {
		meta.Annotations = map[string]string{}
	}
	for key, value := range annotations {
		meta.Annotations[key] = value
	}
}

// Overrides are the known keys of spec.unsupportedConfigOverrides.deployment.
type Overrides struct {
	Annotations      map[string]string `json:"annotations,omitempty"`
	RuntimeClassName *string           `json:"runtimeClassName,omitempty"`
	// Unknown are keys that have no effect, as paths.
	Unknown []string `json:"-"`
}

// ParseOverrides reads the overrides; unknown keys are reported, a wrong shape is a permanent fault.
func ParseOverrides(raw *runtime.RawExtension) (Overrides, error) {
	invalid := func(err error) (Overrides, error) {
		return Overrides{}, fault.Permanentf(registryv1.ReasonInvalidConfigOverrides,
			"spec.unsupportedConfigOverrides must look like {\"deployment\":{\"annotations\":{…},\"runtimeClassName\":\"…\"}}: %v", err)
	}
	top, err := rawObject(raw)
	if err != nil {
		return invalid(err)
	}
	var out Overrides
	for _, key := range sortedKeys(top) {
		if key != "deployment" {
			out.Unknown = append(out.Unknown, key)
		}
	}
	part, exists := top["deployment"]
	if !exists || part == nil {
		return out, nil
	}
	members, ok := part.(map[string]any)
	if !ok {
		return invalid(fmt.Errorf("deployment is a %T", part))
	}
	for _, key := range sortedKeys(members) {
		if key != "annotations" && key != "runtimeClassName" {
			out.Unknown = append(out.Unknown, "deployment."+key)
		}
	}
	text, err := json.Marshal(part)
	if err != nil {
		return invalid(err)
	}
	if err := json.Unmarshal(text, &out); err != nil {
		return invalid(err)
	}
	return out, nil
}

func rawObject(raw *runtime.RawExtension) (map[string]any, error) {
	if raw == nil || len(raw.Raw) == 0 || string(raw.Raw) == "null" {
		return nil, nil
	}
	var out map[string]any
	if err := json.Unmarshal(raw.Raw, &out); err != nil {
		return nil, fmt.Errorf("not a JSON object: %w", err)
	}
	return out, nil
}

// budget is a PodDisruptionBudget: with one Pod, none may be guaranteed, or no node could be drained.
func budget(s Settings, operand string, replicas int32) (*unstructured.Unstructured, error) {
	pdb, err := typed[policyv1.PodDisruptionBudget](s, operand, "pdb.yaml")
	if err != nil {
		return nil, err
	}
	available := intstr.FromInt32(0)
	if replicas > 1 {
		available = intstr.FromInt32(1)
	}
	pdb.Spec.MinAvailable = &available
	return untyped(pdb)
}

// RegistryBudget is the PodDisruptionBudget of the registry.
func RegistryBudget(in Inputs) (*unstructured.Unstructured, error) {
	return budget(in.Settings, manifests.ImageRegistry, in.Storage.Replicas)
}

// Claim is the operator's own volume claim, nil when the storage needs none.
func Claim(in Inputs) (*unstructured.Unstructured, error) {
	wanted := in.Storage.Claim
	if wanted == nil {
		return nil, nil
	}
	claim, err := in.single(manifests.ImageRegistry, "claim.yaml")
	if err != nil {
		return nil, err
	}
	claim.SetName(wanted.Name)
	modes := make([]any, len(wanted.AccessModes))
	for i, mode := range wanted.AccessModes {
		modes[i] = string(mode)
	}
	if err := unstructured.SetNestedSlice(claim.Object, modes, "spec", "accessModes"); err != nil {
		return nil, fmt.Errorf("claim %s: %w", wanted.Name, err)
	}
	if err := unstructured.SetNestedField(claim.Object, wanted.Size, "spec", "resources", "requests", "storage"); err != nil {
		return nil, fmt.Errorf("claim %s: %w", wanted.Name, err)
	}
	if wanted.StorageClassName != "" {
		if err := unstructured.SetNestedField(claim.Object, wanted.StorageClassName, "spec", "storageClassName"); err != nil {
			return nil, fmt.Errorf("claim %s: %w", wanted.Name, err)
		}
	}
	return claim, nil
}

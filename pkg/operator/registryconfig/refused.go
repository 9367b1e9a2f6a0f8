package registryconfig

import (
	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/apply"
	"image.alauda.io/registry/pkg/operator/origin"
)

// podOrigins are those of both Deployments, below spec and spec.imageAPI.
var podOrigins = []origin.Field{
	{Prefix: "spec.template.spec.containers[0].resources", Setting: "resources"},
	{Prefix: "spec.template.spec.tolerations", Setting: "tolerations"},
	{Prefix: "spec.template.spec.nodeSelector", Setting: "nodeSelector"},
	{Prefix: "spec.replicas", Setting: "replicas"},
}

var registryOrigins = append([]origin.Field{
	{Prefix: "spec.template.spec.affinity", Setting: "affinity"},
	{Prefix: "spec.template.spec.topologySpreadConstraints", Setting: "topologySpreadConstraints"},
	{Prefix: "spec.template.spec.runtimeClassName", Setting: "unsupportedConfigOverrides.deployment.runtimeClassName"},
	{Prefix: "spec.template.annotations", Setting: "unsupportedConfigOverrides.deployment.annotations"},
	{Prefix: "metadata.annotations", Setting: "unsupportedConfigOverrides.deployment.annotations"},
	{Prefix: "spec.template.spec.volumes[0].emptyDir", Setting: "storage.emptyDir"},
	{Prefix: "spec.template.spec.volumes[0].persistentVolumeClaim", Setting: "storage.pvc.claim"},
}, podOrigins...)

var claimOrigins = []origin.Field{
	{Prefix: "metadata.name", Setting: "storage.pvc.claim"},
	{Prefix: "spec.resources", Setting: "storage.pvc.size"},
	{Prefix: "spec.accessModes", Setting: "storage.pvc.accessModes"},
	{Prefix: "spec.storageClassName", Setting: "storage.pvc.storageClassName"},
}

// sourceOf says where in Config the fields of an object come from.
func sourceOf(ref apply.Ref) origin.Source {
	source := origin.Source{Object: "Config cluster", Where: "spec."}
	switch {
	case ref.Kind == "Deployment" && ref.Name == registryv1.RegistryName:
		source.Fields = registryOrigins
	case ref.Kind == "Deployment" && ref.Name == registryv1.ImageAPIName:
		source.Where, source.Fields = "spec.imageAPI.", podOrigins
	case ref.Kind == "PersistentVolumeClaim":
		source.Fields = claimOrigins
	}
	return source
}

func refusal(ref apply.Ref, err error) error { return origin.Fault(ref, err, sourceOf(ref)) }

package registryconfig

import (
	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/apply"
	"image.alauda.io/registry/pkg/operator/origin"
)

// podOrigins are those of both Deployments, below spec and spec.imageAPI.
var podOrigins = []origin.Field{
	{"spec.template.spec.containers[0].resources", "resources"},
	{"spec.template.spec.tolerations", "tolerations"},
	{"spec.template.spec.nodeSelector", "nodeSelector"},
	{"spec.replicas", "replicas"},
}

var registryOrigins = append([]origin.Field{
	{"spec.template.spec.affinity", "affinity"},
	{"spec.template.spec.topologySpreadConstraints", "topologySpreadConstraints"},
	{"spec.template.spec.runtimeClassName", "unsupportedConfigOverrides.deployment.runtimeClassName"},
	{"spec.template.annotations", "unsupportedConfigOverrides.deployment.annotations"},
	{"metadata.annotations", "unsupportedConfigOverrides.deployment.annotations"},
	{"spec.template.spec.volumes[0].emptyDir", "storage.emptyDir"},
	{"spec.template.spec.volumes[0].persistentVolumeClaim", "storage.pvc.claim"},
}, podOrigins...)

var claimOrigins = []origin.Field{
	{"metadata.name", "storage.pvc.claim"},
	{"spec.resources", "storage.pvc.size"},
	{"spec.accessModes", "storage.pvc.accessModes"},
	{"spec.storageClassName", "storage.pvc.storageClassName"},
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

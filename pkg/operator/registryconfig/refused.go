package registryconfig

import (
	"errors"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/apply"
	"image.alauda.io/registry/pkg/operator/fault"
)

// mostCauses is how many of the refused fields are told of; who corrects them sees the rest.
const mostCauses = 3

// origin says which field of Config a field of an object comes from.
type origin struct{ prefix, field string }

// podOrigins are those of both Deployments, below spec and spec.imageAPI.
var podOrigins = []origin{
	{"spec.template.spec.containers[0].resources", "resources"},
	{"spec.template.spec.tolerations", "tolerations"},
	{"spec.template.spec.nodeSelector", "nodeSelector"},
	{"spec.replicas", "replicas"},
}

var registryOrigins = append([]origin{
	{"spec.template.spec.affinity", "affinity"},
	{"spec.template.spec.topologySpreadConstraints", "topologySpreadConstraints"},
	{"spec.template.spec.runtimeClassName", "unsupportedConfigOverrides.deployment.runtimeClassName"},
	{"spec.template.annotations", "unsupportedConfigOverrides.deployment.annotations"},
	{"metadata.annotations", "unsupportedConfigOverrides.deployment.annotations"},
	{"spec.template.spec.volumes[0].emptyDir", "storage.emptyDir"},
	{"spec.template.spec.volumes[0].persistentVolumeClaim", "storage.pvc.claim"},
}, podOrigins...)

var claimOrigins = []origin{
	{"metadata.name", "storage.pvc.claim"},
	{"spec.resources", "storage.pvc.size"},
	{"spec.accessModes", "storage.pvc.accessModes"},
	{"spec.storageClassName", "storage.pvc.storageClassName"},
}

func originsOf(ref apply.Ref) (where string, origins []origin) {
	switch {
	case ref.Kind == "Deployment" && ref.Name == registryv1.RegistryName:
		return "spec.", registryOrigins
	case ref.Kind == "Deployment" && ref.Name == registryv1.ImageAPIName:
		return "spec.imageAPI.", podOrigins
	case ref.Kind == "PersistentVolumeClaim":
		return "spec.", claimOrigins
	}
	return "", nil
}

// refusal is the fault that follows from a refused object. What is refused now is refused the next time, too; what
// runs stays as it is.
func refusal(ref apply.Ref, err error) error {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details == nil || len(status.Status().Details.Causes) == 0 {
		return fault.Permanentf(registryv1.ReasonVerificationFailed, "%v; correct the field of Config cluster that it comes from", err)
	}
	where, origins := originsOf(ref)
	var fields, texts []string
	add := func(list []string, text string) []string {
		for _, have := range list {
			if have == text {
				return list
			}
		}
		return append(list, text)
	}
	causes := status.Status().Details.Causes
	for i, cause := range causes {
		if field := fieldOf(cause, origins); field != "" {
			fields = add(fields, where+field)
		}
		if i < mostCauses {
			texts = add(texts, cause.Field+": "+cause.Message)
		}
	}
	if rest := len(causes) - mostCauses; rest > 0 {
		texts = append(texts, fmt.Sprintf("and %d more", rest))
	}
	correct := "the field of Config cluster that it comes from"
	if len(fields) > 0 {
		correct = strings.Join(fields, " and ") + " of Config cluster"
	}
	return fault.Permanentf(registryv1.ReasonVerificationFailed, "the cluster refuses %s: %s; correct %s", ref, strings.Join(texts, ", "), correct)
}

func fieldOf(cause metav1.StatusCause, origins []origin) string {
	for _, origin := range origins {
		if strings.HasPrefix(cause.Field, origin.prefix) {
			return origin.field
		}
	}
	return ""
}

package app

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/conditions"
	"image.alauda.io/registry/pkg/operator/fault"
	"image.alauda.io/registry/pkg/operator/pullsecret"
	"image.alauda.io/registry/pkg/operator/registryconfig"
)

// certificateState translates what the certificates controller knows into what is reported on Config.
func (c *controllers) certificateState() registryconfig.Certificates {
	status := c.certificates.Status()
	out := registryconfig.Certificates{Health: conditions.Controller{FailingSince: status.FailingSince}}
	if status.Err != nil {
		out.Health.Message = status.Err.Error()
	}
	if len(status.Problems) > 0 {
		out.Health.Problem = &fault.Permanent{Reason: status.Problems[0].Reason, Message: status.Problems[0].Message}
	}
	for _, certificate := range status.Certificates {
		out.NotAfter = append(out.NotAfter, registryv1.CertificateStatus{
			Name: certificate.Name, NotAfter: metav1.NewTime(certificate.NotAfter),
		})
	}
	return out
}

// pullSecretState does the same for the pull secrets. An error means that a cache is not filled yet.
func (c *controllers) pullSecretState() registryconfig.PullSecrets {
	summary, err := c.pullSecrets.Summary()
	if err != nil {
		return registryconfig.PullSecrets{}
	}
	return registryconfig.PullSecrets{
		Health: conditions.PullSecrets{Degraded: summary.Degraded, Unmanaged: summary.Mode == pullsecret.Off, Message: summary.Message},
		Count:  registryv1.ReadyCount{Desired: int32(summary.Desired), Ready: int32(summary.Ready)},
	}
}

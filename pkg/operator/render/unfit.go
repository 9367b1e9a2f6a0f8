package render

import (
	"crypto/x509"
	"math"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/fault"
)

// This file refuses what the schema cannot tell and the cluster takes, and with which a Pod would not start, or would
// do without what it was told. The Deployment then stays as it is.

const keyOIDCCA = "ca.crt"

// checkTrustedCA refuses a bundle without any certificate: its readers skip what they do not understand, and would
// trust nobody in silence. A ConfigMap without keys is how the operator makes it, and how a platform leaves it until
// it fills it.
func (in Inputs) checkTrustedCA() error {
	if len(in.TrustedCA) == 0 {
		return nil
	}
	const fix = "write certificates in PEM under key " + registryv1.KeyTrustedCA + ", or remove the key to do without"
	wrong := func(what string) error {
		return fault.Permanentf(registryv1.ReasonTrustedCANotFound,
			"ConfigMap %s in namespace %s %s; %s, what runs keeps what it has read", registryv1.ConfigMapTrustedCA, in.Namespace, what, fix)
	}
	if bundle, there := in.TrustedCA[registryv1.KeyTrustedCA]; there && !holdsCertificate(bundle) {
		return wrong("holds no certificate under key " + registryv1.KeyTrustedCA)
	}
	for _, bundle := range in.TrustedCA {
		if holdsCertificate(bundle) {
			return nil // the whole directory is read, so any key will do
		}
	}
	return wrong("has keys, but none with a certificate")
}

// checkOIDCCA refuses a CA of the issuer that the registry would wait for in vain.
func (in Inputs) checkOIDCCA() error {
	name := in.OIDC.CAConfigMap
	if name == "" || in.OIDC.IssuerURL == "" {
		return nil
	}
	wrong := func(what string) error {
		return fault.Permanentf(registryv1.ReasonTrustedCANotFound,
			"spec.auth.oidc.caConfigMap of Config cluster names ConfigMap %s in namespace %s, %s; write the CA of the issuer into it in PEM under key %s, or clear the field if systems know that CA",
			name, in.Namespace, what, keyOIDCCA)
	}
	bundle, there := in.OIDCCA[keyOIDCCA]
	switch {
	case in.OIDCCA == nil:
		return wrong("which does not exist or is empty")
	case !there:
		return wrong("which lacks key " + keyOIDCCA)
	case !holdsCertificate(bundle):
		return wrong("whose key " + keyOIDCCA + " holds no certificate")
	}
	return nil
}

// holdsCertificate reads as the servers do.
func holdsCertificate(bundle string) bool {
	return x509.NewCertPool().AppendCertsFromPEM([]byte(bundle))
}

// leastMemory in MiB is what no program of this product starts with. A smaller limit is a mistake in the unit: 512m is
// half a byte.
const leastMemory = 16

// checkMemory refuses a limit of memory with which a container ends before it begins.
func checkMemory(owner, field string, resources *corev1.ResourceRequirements) error {
	if resources == nil {
		return nil
	}
	limit, set := resources.Limits[corev1.ResourceMemory]
	if !set || limit.Sign() < 0 || limit.CmpInt64(leastMemory<<20) >= 0 { // the cluster refuses what is negative
		return nil
	}
	return refuse("%s.limits.memory of %s is %s, with which no container starts; write at least %dMi, with a unit as in 512Mi", field, owner, limit.String(), leastMemory)
}

// maxVariable is a little below what Linux hands to a process in one variable.
const maxVariable = 120 << 10

// checkEnv refuses variables with which no process can be started.
func checkEnv(env []corev1.EnvVar) error {
	for _, variable := range env {
		switch {
		case strings.ContainsRune(variable.Value, 0):
			return refuse("variable %s would hold a zero byte; correct the field of Config cluster that it comes from", variable.Name)
		case len(variable.Name)+len(variable.Value) > maxVariable:
			return refuse("variable %s would be longer than %d KiB, which no process can be given; shorten the field of Config cluster that it comes from", variable.Name, maxVariable>>10)
		}
	}
	return nil
}

// most and least are bounds that Kubernetes does not check, and beyond which it counts wrongly.
const (
	mostSeconds   = math.MaxInt64 / int64(time.Second)
	leastDeadline = 10
)

// checkPruner refuses what the schema refuses, too: an object may be older than the schema, or come from a backup.
func checkPruner(spec registryv1.ImagePrunerSpec) error {
	within := func(field string, value *int64, least int64) error {
		if value == nil || *value >= least && *value <= mostSeconds {
			return nil
		}
		return refuse("spec.%s of ImagePruner cluster is %d; set it to a number of seconds of at least %d, or leave it out", field, *value, least)
	}
	switch {
	case spec.KeepTagRevisions != nil && *spec.KeepTagRevisions < 0:
		return refuse("spec.keepTagRevisions of ImagePruner cluster is %d; set it to 0 or more", *spec.KeepTagRevisions)
	case keepYoungerThan(spec) < 0:
		field := "keepYoungerThan"
		if spec.KeepYoungerThanDuration != nil {
			field = "keepYoungerThanDuration"
		}
		return refuse("spec.%s of ImagePruner cluster is %s; set spec.keepYoungerThanDuration to a duration that is not negative, as 60m", field, keepYoungerThan(spec))
	}
	if err := within("startingDeadlineSeconds", spec.StartingDeadlineSeconds, leastDeadline); err != nil {
		return err
	}
	if err := within("activeDeadlineSeconds", spec.ActiveDeadlineSeconds, 1); err != nil {
		return err
	}
	return checkMemory("ImagePruner cluster", "spec.resources", spec.Resources)
}

package certificates

import (
	"crypto/x509"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	selection "k8s.io/apimachinery/pkg/labels"

	imageregistryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/ingress"
)

// specs are the serving certificates of this input: the fixed ones and those of the exposed hosts.
func (in Input) specs() []leafSpec { return append(leafSpecs(), in.Routes...) }

// routeSpecs lists the certificates of the exposed hosts: one for each Ingress of the operator that uses the
// Secret named after it, and one to be removed for each such Secret that nothing uses and nobody asks for. The
// Ingress decides and not Config, so that its certificate lasts as long as it does. A certificate for a name
// inside the cluster is never issued, whatever an Ingress says.
func (c *Controller) routeSpecs(config *imageregistryv1.Config) ([]leafSpec, error) {
	live, err := c.ingresses.List(selection.Everything())
	if err != nil {
		return nil, fmt.Errorf("list Ingresses: %w", err)
	}
	var specs []leafSpec
	used := map[string]bool{}
	for _, route := range ingress.Existing(live) {
		if !route.Issued() {
			continue
		}
		used[route.SecretName] = true
		if ingress.CheckHost(route.Host, c.Namespace, c.ClusterDomain) == nil {
			specs = append(specs, leafSpec{secret: route.SecretName, host: route.Host})
		}
	}
	secrets, err := c.secrets.List(selection.SelectorFromSet(selection.Set{imageregistryv1.LabelComponent: componentLabelValue}))
	if err != nil {
		return nil, fmt.Errorf("list Secrets: %w", err)
	}
	var obsolete []string
	for _, secret := range secrets {
		if isRouteSecret(secret.Name) && ingress.Generated(secret) && !used[secret.Name] && !asksFor(config, secret.Name) {
			obsolete = append(obsolete, secret.Name)
		}
	}
	for _, name := range sortedUnique(obsolete) {
		specs = append(specs, leafSpec{secret: name, obsolete: true})
	}
	return specs, nil
}

func isRouteSecret(name string) bool {
	return strings.HasSuffix(name, imageregistryv1.IngressTLSSecretSuffix)
}

// asksFor says whether Config wants a route with this Secret. Its Ingress may be missing for a moment.
func asksFor(config *imageregistryv1.Config, secret string) bool {
	if config == nil {
		return false
	}
	if config.Spec.DefaultRoute && secret == ingress.SecretName(imageregistryv1.DefaultRouteName) {
		return true
	}
	for _, route := range config.Spec.Routes {
		if route.SecretName == secret || route.SecretName == "" && ingress.SecretName(route.Name) == secret {
			return true
		}
	}
	return false
}

// inspectRoute looks at a Secret that somebody else supplied for a route. What is wrong with it is a fault of
// the route, of which the exposure tells; only the near end is told of here.
func inspectRoute(in Input, spec leafSpec, live *corev1.Secret, out *Result) *x509.Certificate {
	supplied, err := parsePair(live.Data[certKey], live.Data[privateKey])
	if err != nil {
		return nil
	}
	warnOfEnd(in, spec.secret, supplied.cert, out)
	return supplied.cert
}

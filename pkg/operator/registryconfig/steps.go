package registryconfig

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/apply"
	"image.alauda.io/registry/pkg/operator/imagestorage"
	"image.alauda.io/registry/pkg/operator/render"
)

// grants are the objects of access, in the order in which they need each other. A binding is refused while
// its role does not exist, and a Pod while its ServiceAccount does not.
type grants struct {
	// identities are ServiceAccounts and Services: certificates are issued for the addresses of the latter.
	identities, roles, bindings []*unstructured.Unstructured
}

func (c *Controller) access() (grants, error) {
	var out grants
	objects, err := render.Access(c.Settings)
	if err != nil {
		return out, err
	}
	if out.identities, err = render.Services(c.Settings); err != nil {
		return out, err
	}
	for _, object := range objects {
		switch object.GetKind() {
		case "ServiceAccount":
			out.identities = append(out.identities, object)
		case "Role", "ClusterRole":
			out.roles = append(out.roles, object)
		default:
			out.bindings = append(out.bindings, object)
		}
	}
	return out, nil
}

// deployments is what is known about what runs.
type deployments struct {
	in render.Inputs
	// trusted: what the trust of clients depends on is known.
	trusted bool
	// observed: the inputs are complete. Without them nothing of the registry is rendered.
	observed bool
	// stored: the storage is decided, and its claim exists.
	stored bool
	// configured: the private configuration of the registry exists.
	configured bool
	// newClaim: the claim did not exist before this sync.
	newClaim bool
	// lostClaim: and the registry that runs keeps its images in it.
	lostClaim bool
}

// needsOfAPIServer are the objects without which a Pod would not start, or would start wrongly.
func (c *Controller) needsOfAPIServer(plan imagestorage.Plan, records []*unstructured.Unstructured) []apply.Ref {
	needs := []apply.Ref{
		c.inNamespace("ServiceAccount", registryv1.ImageAPIName),
		c.inNamespace("ConfigMap", registryv1.ConfigMapImageAPIConfig),
	}
	if !plan.CRD() {
		return needs
	}
	for _, record := range records {
		// A server that is newer than its records would lose the fields that they do not know.
		needs = append(needs, apply.RefOf(record))
	}
	return needs
}

// needsOfRegistry are the same for the registry, besides its storage.
func (c *Controller) needsOfRegistry() []apply.Ref {
	return []apply.Ref{
		c.inNamespace("ServiceAccount", registryv1.RegistryName),
		c.inNamespace("Secret", registryv1.SecretPrivateConfig),
		c.inNamespace("ConfigMap", registryv1.ConfigMapCertificates),
	}
}

// dependencies renders what has to exist before the Deployments: what their Pods mount, the claim, and the
// records of the Image API.
func (c *Controller) dependencies(p *pass, d deployments) []*unstructured.Unstructured {
	var out []*unstructured.Unstructured
	one := func(kind, name string, object *unstructured.Unstructured, err error) {
		if p.fail(c.inNamespace(kind, name), err) && object != nil {
			out = append(out, object)
		}
	}
	if d.observed {
		if d.stored || !d.configured {
			// What runs reads it, too: credentials that are not proven may not come in its way.
			secret, err := render.PrivateConfiguration(d.in)
			one("Secret", registryv1.SecretPrivateConfig, secret, err)
		}
	}
	if d.trusted {
		c.trust(d.in, one)
		public, err := render.PublicConfigMap(d.in)
		one("ConfigMap", registryv1.ConfigMapPublic, public, err)
	}
	if d.stored && d.in.Storage.Claim != nil {
		claim, err := render.Claim(d.in)
		one("PersistentVolumeClaim", d.in.Storage.Claim.Name, claim, err)
	}
	config, err := render.APIServerConfig(d.in)
	one("ConfigMap", registryv1.ConfigMapImageAPIConfig, config, err)
	trusted, err := render.TrustedCA(c.Settings)
	one("ConfigMap", registryv1.ConfigMapTrustedCA, trusted, err)
	records, _, err := render.APIServerStorage(c.Settings)
	if !p.add(err) || !d.in.ImageStorage.CRD() {
		return out
	}
	return append(out, records...)
}

// trust renders the certificates of the registries, for Pods and for nodes.
func (c *Controller) trust(in render.Inputs, one func(kind, name string, object *unstructured.Unstructured, err error)) {
	certificates, skipped, err := render.Certificates(in, c.Clock.Now())
	if err != nil {
		one("ConfigMap", registryv1.ConfigMapCertificates, nil, err)
		return
	}
	for _, reason := range skipped {
		c.Events("Warning", "InvalidTrustedCAKey", fmt.Sprintf("ConfigMap %s: %s", in.Config.Spec.AdditionalTrustedCA.Name, reason))
	}
	forPods, err := render.CertificatesConfigMap(c.Settings, certificates)
	one("ConfigMap", registryv1.ConfigMapCertificates, forPods, err)
	forNodes, err := render.NodeConfigMap(in, certificates)
	one("ConfigMap", registryv1.ConfigMapNodeCAConfig, forNodes, err)
}

// deploy applies both Deployments, the API server first: an upgrade rolls in this order.
func (c *Controller) deploy(ctx context.Context, p *pass, d deployments) {
	records, _, err := render.APIServerStorage(c.Settings)
	if err == nil && d.in.ImageStorage.Known() && p.have(c.needsOfAPIServer(d.in.ImageStorage, records)...) {
		deployment, err := render.APIServerDeployment(d.in)
		if err == nil {
			err = c.leaveImageStorage(ctx, d.in.ImageStorage)
		}
		p.add(c.applyRendered(ctx, deployment, err))
	}
	if d.stored && p.have(c.needsOfRegistry()...) {
		deployment, err := render.RegistryDeployment(d.in)
		p.add(c.applyRendered(ctx, deployment, err))
	}
}

// guards renders what protects the records and the API servers. With an etcd there is nothing to protect, and what
// was there goes; the records themselves stay for ever.
func (c *Controller) guards(ctx context.Context, p *pass, d deployments) []*unstructured.Unstructured {
	_, guards, err := render.APIServerStorage(c.Settings)
	if err != nil || !d.in.ImageStorage.Known() {
		return nil // the dependencies reported it, or nobody knows where the metadata lies
	}
	if d.in.ImageStorage.CRD() {
		return guards
	}
	for _, guard := range guards {
		_, err := c.Applier.Delete(ctx, apply.RefOf(guard)) // nothing waits for their end
		p.add(err)
	}
	return nil
}

// attendants renders the budgets and the agent of the nodes.
func (c *Controller) attendants(p *pass, d deployments) []*unstructured.Unstructured {
	var out []*unstructured.Unstructured
	one := func(object *unstructured.Unstructured, err error) {
		if p.add(err) && object != nil {
			out = append(out, object)
		}
	}
	one(render.APIServerBudget(d.in))
	if d.stored {
		one(render.RegistryBudget(d.in))
	}
	if p.have(c.inNamespace("ServiceAccount", registryv1.NodeCAName)) {
		one(render.NodeCADaemonSet(c.Settings, render.NodeModeSync))
	}
	return out
}

package registryconfig

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/apply"
	"image.alauda.io/registry/pkg/operator/fault"
	"image.alauda.io/registry/pkg/operator/imagestorage"
	"image.alauda.io/registry/pkg/operator/render"
	"image.alauda.io/registry/pkg/operator/storage"
)

// outcome is what one sync found and did.
type outcome struct {
	// err joins the faults of all steps.
	err error
	// nodeErr is the fault of the node trust, which has a condition of its own.
	nodeErr error
	storage storage.Existence
	ready   ready
	// exposure is nil unless the sync came to the Ingresses.
	exposure *exposure
	// plan is nil unless the storage was decided and applied.
	plan    *storage.Plan
	removal removal
	// records are those of the image metadata in the cluster.
	records imagestorage.Records
	// trouble says of a Deployment why its Pods do not come up.
	trouble map[string]string
	// certificates and pullSecrets are what their controllers say; asked once per report, because counting
	// costs a pass over every ServiceAccount.
	certificates Certificates
	pullSecrets  PullSecrets
}

// manage takes the steps of state Managed. What both Deployments need comes first, because people wait for
// them; everything else follows. A step that fails holds up only the steps that need its result.
func (c *Controller) manage(ctx context.Context, config *registryv1.Config) outcome {
	var out outcome
	if out.err = c.ensureFinalizer(ctx, config); out.err != nil {
		return out
	}
	if err := sound(config.Spec); err != nil {
		kept := c.keepTrust(ctx, config)
		out.err = errors.Join(err, kept.err)
		out.storage = previousExistence(config.Status.Conditions)
		return out
	}
	p := &pass{}
	p.add(verify(c, config))
	granted, err := c.access()
	p.add(err)
	c.together(ctx, p, granted.identities)

	exposed, err := c.planExposure(config)
	planned := p.add(err)
	in := render.Inputs{Settings: c.Settings, Config: config, Routes: exposed.Routes, ExternalHosts: c.answering(config, exposed.Routes)}
	d := deployments{trusted: p.add(c.observeTrust(ctx, config, &in))}
	d.observed = p.add(c.observe(ctx, config, &in)) && d.trusted
	d.in = in
	p.add(c.additionalCAFault(in))
	d.in.ImageStorage, err = c.decideImageStorage(ctx, config)
	p.add(err)
	p.add(c.etcdCertificateFault(config))
	d.configured = c.configured(ctx, p)
	d.stored = d.observed && p.add(c.decideStorage(ctx, config, &d, &out)) && c.proven(ctx, p, config, &d, &out)
	c.together(ctx, p, c.dependencies(p, d))
	d.stored = d.stored && c.claimed(p, d, config, &out)

	waiting := c.certificatesReady()
	if waiting == nil {
		c.deploy(ctx, p, d)
	}
	c.together(ctx, p, append(granted.roles, c.guards(ctx, p, d)...))
	c.together(ctx, p, append(granted.bindings, c.attendants(p, d)...))
	if waiting != nil {
		if waiting = c.certificatesReady(); waiting == nil {
			c.deploy(ctx, p, d)
		}
	}
	c.isolate(ctx, p, config)
	p.add(waiting)
	if d.stored {
		p.add(c.writeBack(ctx, config, storage.WriteBackFor(config.Spec.Storage, out.plan.Effective)))
	}
	if planned {
		out.exposure = c.expose(ctx, p, exposed)
	}
	p.add(c.registerAPI(ctx))
	p.add(c.registerLookup(ctx, config))
	p.add(c.serverFault(ctx))
	out.nodeErr = p.take(c.inNamespace("DaemonSet", registryv1.NodeCAName))
	out.err = p.err()
	return out
}

// decideStorage decides where the blobs lie. On success d.in.Storage is set.
func (c *Controller) decideStorage(ctx context.Context, config *registryv1.Config, d *deployments, out *outcome) error {
	facts, err := c.storageFacts(config)
	if err != nil {
		return err
	}
	running, err := c.Applier.Live(ctx, c.inNamespace("Deployment", registryv1.RegistryName))
	if err != nil {
		return err
	}
	if running != nil {
		facts.Running = c.placeInUse(config, running)
	}
	plan, err := storage.Decide(config, facts)
	out.storage = plan.Exists
	if err != nil {
		return err
	}
	if err := checkSwitch(config, c.placeInUse(config, running), plan); err != nil {
		return err
	}
	d.in.Storage, d.newClaim, out.plan = plan, facts.Claim == nil, &plan
	d.lostClaim = d.newClaim && facts.Running == storage.Identity(&plan.Effective)
	return nil
}

// claimed says whether the claim of the plan is there, if it has one. Otherwise the plan is void.
func (c *Controller) claimed(p *pass, d deployments, config *registryv1.Config, out *outcome) bool {
	if claim := out.plan.Claim; claim != nil {
		ref := c.inNamespace("PersistentVolumeClaim", claim.Name)
		err := p.of(ref)
		if err != nil && !d.newClaim && unchangeable(err) {
			// It serves as it is. What is wrong is the wish to change it.
			p.fail(ref, fault.Permanentf(registryv1.ReasonInvalidStorageConfiguration,
				"%s stays as it is: %v; undo the change of spec.storage.pvc of Config cluster, or let its StorageClass expand volumes", ref, p.take(ref)))
			err = nil
		}
		if err != nil {
			out.storage = storage.Existence{Status: registryv1.ConditionFalse, Reason: registryv1.ReasonPVCCreateFailed, Message: err.Error()}
			out.plan = nil
			return false
		}
		if d.lostClaim {
			c.Events("Warning", "StorageCreated", fmt.Sprintf(
				"PersistentVolumeClaim %s had disappeared under the running registry and was created anew: it is empty unless its volume was kept, and metadata still lists the images; restore them from a backup or from the old PersistentVolume", claim.Name))
		} else if d.newClaim {
			c.Events("Normal", "StorageCreated", fmt.Sprintf("PersistentVolumeClaim %s was created for the registry", claim.Name))
		}
	}
	c.tellAboutStorage(config, *out.plan)
	return true
}

// unchangeable says whether the cluster refuses the change of an object however often it is sent.
func unchangeable(err error) bool {
	var permanent *fault.Permanent
	return apierrors.IsForbidden(err) || errors.As(err, &permanent)
}

// checkSwitch refuses another place for the blobs while the lock is on.
func checkSwitch(config *registryv1.Config, before string, plan storage.Plan) error {
	after := storage.Identity(&plan.Effective)
	if before == "" || before == after {
		return nil
	}
	if config.Annotations[registryv1.StorageLockAnnotation] == "true" {
		return fault.Permanentf(registryv1.ReasonStorageChangeBlocked,
			"the storage may not change from %s to %s while Config cluster carries annotation %s; remove it, or undo the change of spec.storage", before, after, registryv1.StorageLockAnnotation)
	}
	return nil
}

// placeInUse is where the registry keeps its blobs. Its Deployment knows best: the status is written after it, and
// not at all if that request fails. What others wrote there does not count.
func (c *Controller) placeInUse(config *registryv1.Config, deployment *unstructured.Unstructured) string {
	const name = registryv1.StorageIdentityAnnotation
	if deployment != nil && apply.Wrote(deployment, c.Applier.FieldManager, "metadata", "annotations", name) {
		return deployment.GetAnnotations()[name]
	}
	return storage.Identity(config.Status.Storage)
}

func (c *Controller) tellAboutStorage(config *registryv1.Config, plan storage.Plan) {
	before, after := storage.Identity(config.Status.Storage), storage.Identity(&plan.Effective)
	if change := before + " " + after; before != after && before != "" && c.memory.storageChange != change {
		c.memory.storageChange = change
		c.Events("Warning", "StorageBackendChanged", fmt.Sprintf(
			"storage changed from %s to %s: images stored in the old place are no longer served, but metadata still lists them; nothing was deleted, so copy them over or set the old storage again", before, after))
		c.Metrics.storageChanged()
	}
	if before != after && plan.Effective.EmptyDir != nil {
		c.Events("Warning", "EphemeralStorage", "images are kept in the Pod of the registry and are lost with it; set spec.storage to a storage that lasts before anybody relies on them")
	}
	if plan.ReplicasReason == registryv1.ReplicasReasonSingleWriterVolume {
		c.Events("Warning", "ReplicasLimited", fmt.Sprintf(
			"spec.replicas is limited to 1, because PersistentVolumeClaim %s can be used by one node at a time; use a claim with ReadWriteMany or an object store for more", plan.Effective.PVC.Claim))
	}
}

// registerAPI creates the APIService once its server answers, and from then on keeps its CA current, whatever
// the server does.
func (c *Controller) registerAPI(ctx context.Context) error {
	service, err := render.APIService(c.Settings, c.bundle())
	if err != nil {
		return err
	}
	return c.whenServed(ctx, service)
}

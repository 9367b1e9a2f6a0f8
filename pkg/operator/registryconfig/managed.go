package registryconfig

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/apply"
	"image.alauda.io/registry/pkg/operator/fault"
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
	// plan is nil unless the storage was decided and applied.
	plan    *storage.Plan
	removal removal
	// certificates and pullSecrets are what their controllers say; asked once per report, because counting
	// costs a pass over every ServiceAccount.
	certificates Certificates
	pullSecrets  PullSecrets
}

// manage takes the steps of state Managed. Order matters: what a Pod mounts exists before the Pod, the
// records exist before their server, the API is registered after its server is ready.
func (c *Controller) manage(ctx context.Context, config *registryv1.Config) outcome {
	var out outcome
	add := func(err error) bool { out.err = errors.Join(out.err, err); return err == nil }

	if !add(c.ensureFinalizer(ctx, config)) {
		return out
	}
	add(verify(c, config))
	access := add(c.applyAccess(ctx))
	in, err := c.observe(ctx, config)
	if !add(err) || !access {
		return out
	}
	certificates := add(c.certificatesReady())
	stored := add(c.syncStorage(ctx, config, &in, &out))
	configured, err := c.applyConfiguration(ctx, in)
	add(err)
	if certificates && configured {
		add(c.applyAPIServer(ctx, in))
		if stored {
			add(c.applyRegistry(ctx, in))
		}
	}
	out.nodeErr = c.applyNodeTrust(ctx)
	add(c.registerAPI(ctx))
	return out
}

// verify checks what the schema cannot.
func verify(c *Controller, config *registryv1.Config) error {
	overrides, err := render.ParseOverrides(config.Spec.UnsupportedConfigOverrides)
	if err != nil {
		return err
	}
	if len(overrides.Unknown) > 0 {
		c.Events("Warning", "UnknownConfigOverride", "spec.unsupportedConfigOverrides has keys without effect: "+strings.Join(overrides.Unknown, ", "))
	}
	return nil
}

// applyAll applies objects one by one and joins what goes wrong.
func (c *Controller) applyAll(ctx context.Context, objects []*unstructured.Unstructured) error {
	var errs []error
	for _, object := range objects {
		errs = append(errs, c.apply(ctx, object))
	}
	return errors.Join(errs...)
}

func (c *Controller) apply(ctx context.Context, object *unstructured.Unstructured) error {
	_, _, err := c.Applier.Apply(ctx, object)
	return err
}

// applyRendered applies what a renderer returned.
func (c *Controller) applyRendered(ctx context.Context, object *unstructured.Unstructured, err error) error {
	if err != nil || object == nil {
		return err
	}
	return c.apply(ctx, object)
}

func (c *Controller) applyAccess(ctx context.Context) error {
	objects, err := render.Access(c.Settings)
	if err != nil {
		return err
	}
	services, err := render.Services(c.Settings)
	if err != nil {
		return err
	}
	var errs []error
	for _, object := range append(objects, services...) {
		alone, err := c.leftAlone(ctx, object)
		if err == nil && !alone {
			err = c.apply(ctx, object)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// leftAlone says whether an administrator keeps a role for himself.
func (c *Controller) leftAlone(ctx context.Context, object *unstructured.Unstructured) (bool, error) {
	if object.GetKind() != "ClusterRole" {
		return false, nil
	}
	live, err := c.Applier.Live(ctx, apply.RefOf(object))
	if err != nil || live == nil {
		return false, err
	}
	return live.GetAnnotations()[registryv1.AutoupdateAnnotation] == "false", nil
}

// syncStorage decides the storage, makes the claim and completes the spec. On success in.Storage is set.
func (c *Controller) syncStorage(ctx context.Context, config *registryv1.Config, in *render.Inputs, out *outcome) error {
	facts, err := c.storageFacts(config)
	if err != nil {
		return err
	}
	plan, err := storage.Decide(config, facts)
	out.storage = plan.Exists
	if err != nil {
		return err
	}
	if err := c.checkSwitch(config, plan); err != nil {
		return err
	}
	in.Storage = plan
	claim, err := render.Claim(*in)
	if err := c.applyRendered(ctx, claim, err); err != nil {
		out.storage = storage.Existence{Status: registryv1.ConditionFalse, Reason: registryv1.ReasonPVCCreateFailed, Message: err.Error()}
		return err
	}
	if facts.Claim == nil && claim != nil {
		c.Events("Normal", "StorageCreated", fmt.Sprintf("PersistentVolumeClaim %s was created for the registry", claim.GetName()))
	}
	c.tellAboutStorage(config, plan)
	out.plan = &plan
	return c.writeBack(ctx, config, storage.WriteBackFor(config.Spec.Storage, plan.Effective))
}

// checkSwitch refuses another place for the blobs while the lock is on.
func (c *Controller) checkSwitch(config *registryv1.Config, plan storage.Plan) error {
	before, after := storage.Identity(config.Status.Storage), storage.Identity(&plan.Effective)
	if before == "" || before == after {
		return nil
	}
	if config.Annotations[registryv1.StorageLockAnnotation] == "true" {
		return fault.Permanentf(registryv1.ReasonStorageChangeBlocked,
			"the storage may not change from %s to %s while Config cluster carries annotation %s", before, after, registryv1.StorageLockAnnotation)
	}
	return nil
}

func (c *Controller) tellAboutStorage(config *registryv1.Config, plan storage.Plan) {
	before, after := storage.Identity(config.Status.Storage), storage.Identity(&plan.Effective)
	if before != after && before != "" {
		c.Events("Warning", "StorageBackendChanged", fmt.Sprintf(
			"storage changed from %s to %s: images stored in the old place are no longer served, but metadata still lists them; nothing was deleted", before, after))
		c.Metrics.storageChanged()
	}
	if before != after && plan.Effective.EmptyDir != nil {
		c.Events("Warning", "EphemeralStorage", "images are kept in the Pod of the registry and are lost with it")
	}
	if plan.ReplicasReason == registryv1.ReplicasReasonSingleWriterVolume {
		c.Events("Warning", "ReplicasLimited", fmt.Sprintf(
			"spec.replicas is limited to 1, because PersistentVolumeClaim %s can be used by one node at a time", plan.Effective.PVC.Claim))
	}
}

// applyConfiguration writes the Secret and the ConfigMaps that Pods mount. It reports whether all that the
// Deployments need is there.
func (c *Controller) applyConfiguration(ctx context.Context, in render.Inputs) (bool, error) {
	certificates, skipped, err := render.Certificates(in, c.Clock.Now())
	if err != nil {
		return false, err
	}
	for _, reason := range skipped {
		c.Events("Warning", "InvalidTrustedCAKey", fmt.Sprintf("ConfigMap %s: %s", in.Config.Spec.AdditionalTrustedCA.Name, reason))
	}
	errs := []error{c.ensureTrustedCA(ctx)}
	one := func(object *unstructured.Unstructured, err error) {
		errs = append(errs, c.applyRendered(ctx, object, err))
	}
	one(render.PrivateConfiguration(in))
	one(render.CertificatesConfigMap(c.Settings, certificates))
	one(render.NodeConfigMap(in, certificates))
	one(render.APIServerConfig(in))
	one(render.PublicConfigMap(in))
	err = errors.Join(errs...)
	return err == nil, err
}

// ensureTrustedCA creates the ConfigMap once and never touches it again.
func (c *Controller) ensureTrustedCA(ctx context.Context) error {
	object, err := render.TrustedCA(c.Settings)
	if err != nil {
		return err
	}
	live, err := c.Applier.Live(ctx, apply.RefOf(object))
	if err != nil || live != nil {
		return err
	}
	return c.apply(ctx, object)
}

func (c *Controller) applyAPIServer(ctx context.Context, in render.Inputs) error {
	records, guards, err := render.APIServerStorage(c.Settings)
	if err != nil {
		return err
	}
	if err := c.applyAll(ctx, append(records, guards...)); err != nil {
		return err
	}
	deployment, err := render.APIServerDeployment(in)
	if err := c.applyWorkload(ctx, in.Config, deployment, err); err != nil {
		return err
	}
	budget, err := render.APIServerBudget(in)
	return c.applyRendered(ctx, budget, err)
}

func (c *Controller) applyRegistry(ctx context.Context, in render.Inputs) error {
	deployment, err := render.RegistryDeployment(in)
	if err := c.applyWorkload(ctx, in.Config, deployment, err); err != nil {
		return err
	}
	budget, err := render.RegistryBudget(in)
	return c.applyRendered(ctx, budget, err)
}

func (c *Controller) applyNodeTrust(ctx context.Context) error {
	daemon, err := render.NodeCADaemonSet(c.Settings, render.NodeModeSync)
	return c.applyRendered(ctx, daemon, err)
}

// registerAPI creates the APIService once its server answers, and from then on keeps its CA current, whatever
// the server does.
func (c *Controller) registerAPI(ctx context.Context) error {
	service, err := render.APIService(c.Settings, c.bundle())
	if err != nil {
		return err
	}
	live, err := c.Applier.Live(ctx, apply.RefOf(service))
	if err != nil {
		return err
	}
	if live == nil {
		ready, err := c.apiServerReady()
		if err != nil {
			return err
		}
		if !ready {
			return fault.WaitingFor("a ready endpoint of Service %s", registryv1.ImageAPIName)
		}
	}
	return c.apply(ctx, service)
}

// applyWorkload applies and reports when somebody else had changed the object meanwhile.
func (c *Controller) applyWorkload(ctx context.Context, config *registryv1.Config, object *unstructured.Unstructured, err error) error {
	if err != nil {
		return err
	}
	before, err := c.Applier.Live(ctx, apply.RefOf(object))
	if err != nil {
		return err
	}
	after, sent, err := c.Applier.Apply(ctx, object)
	if err != nil {
		return err
	}
	if sent && before != nil && before.GetGeneration() != after.GetGeneration() && drifted(config.Status.Generations, before) {
		c.Events("Warning", "DriftCorrected", fmt.Sprintf("%s was changed by %s and is put back", apply.RefOf(object), lastForeignManager(before)))
		c.Metrics.drifted(object.GetKind(), object.GetName())
	}
	return nil
}

// drifted says whether the object is not as the operator left it.
func drifted(generations []registryv1.GenerationStatus, live *unstructured.Unstructured) bool {
	for _, entry := range generations {
		if entry.Name == live.GetName() && entry.Namespace == live.GetNamespace() {
			return entry.LastGeneration != live.GetGeneration()
		}
	}
	return false
}

func lastForeignManager(live *unstructured.Unstructured) string {
	name, newest := "somebody", int64(0)
	for _, entry := range live.GetManagedFields() {
		if entry.Manager == registryv1.OperatorName || entry.Subresource != "" || entry.Time == nil {
			continue
		}
		if at := entry.Time.Unix(); at >= newest {
			name, newest = entry.Manager, at
		}
	}
	return name
}

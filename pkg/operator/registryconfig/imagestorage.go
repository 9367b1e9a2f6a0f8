package registryconfig

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/apply"
	"image.alauda.io/registry/pkg/operator/fault"
	"image.alauda.io/registry/pkg/operator/imagestorage"
)

// recordsInterval is the shortest time between two counts of the records that only inform.
const recordsInterval = 10 * time.Minute

// recordKinds are the hidden resources of the image metadata.
var recordKinds = []schema.GroupVersionResource{
	{Group: "storage.image.alauda.io", Version: "v1", Resource: "storedimages"},
	{Group: "storage.image.alauda.io", Version: "v1", Resource: "storedimagestreams"},
}

// decideImageStorage decides where the image metadata lies. With a fault the plan may still be the old place.
func (c *Controller) decideImageStorage(ctx context.Context, config *registryv1.Config) (imagestorage.Plan, error) {
	facts := imagestorage.Facts{
		Spec: config.Spec.ImageAPI.Storage, Allowed: config.Annotations[registryv1.AllowImageStorageChangeAnnotation],
		InUse: config.Status.ImageAPIStorage, Namespace: c.Settings.Namespace,
		Records: func() (imagestorage.Records, error) { return c.countRecords(ctx) },
	}
	server, err := c.Applier.Live(ctx, c.inNamespace("Deployment", registryv1.ImageAPIName))
	if err != nil {
		return imagestorage.Plan{}, err
	}
	if place := c.placeOn(server); place != "" {
		facts.InUse = place // the status is written after it, and not at all if that request fails
	}
	if etcd := facts.Spec.Etcd; etcd != nil && etcd.SecretName != "" {
		if secret := c.secret(etcd.SecretName); secret != nil {
			facts.Secret = secret.Data
			if facts.Secret == nil {
				facts.Secret = map[string][]byte{}
			}
		}
	}
	return imagestorage.Decide(facts)
}

// writtenPlace is what the operator noted on the Deployment of the server; what others wrote there does not count.
func (c *Controller) writtenPlace(server metav1.Object) string {
	const name = registryv1.ImageStorageAnnotation
	if !apply.Wrote(server, c.Applier.FieldManager, "metadata", "annotations", name) {
		return ""
	}
	return server.GetAnnotations()[name]
}

func (c *Controller) placeOn(server *unstructured.Unstructured) string {
	if server == nil {
		return ""
	}
	return c.writtenPlace(server)
}

// leaveImageStorage ends the servers of another place before the first one of the new place starts: with a rolling
// update, what is written through an old server would be lost to the new ones. Afterwards the decision is made
// once more, so that what was written meanwhile counts.
func (c *Controller) leaveImageStorage(ctx context.Context, plan imagestorage.Plan) error {
	ref := c.inNamespace("Deployment", registryv1.ImageAPIName)
	server, err := c.Applier.Live(ctx, ref)
	if err != nil {
		return err
	}
	if place := c.placeOn(server); place == "" || place == plan.Place {
		return nil
	}
	if _, err := c.Applier.Delete(ctx, ref); err != nil {
		return err
	}
	return fault.WaitingFor("the servers on the former storage of the image metadata to end")
}

// imagePlace is where the metadata lies, for the status; empty when nothing is known.
func (c *Controller) imagePlace(w workloads) string {
	if w.apiServer == nil {
		return ""
	}
	return c.writtenPlace(w.apiServer)
}

// countRecords asks how many records the cluster holds. One of each kind is read: the list tells how many follow.
func (c *Controller) countRecords(ctx context.Context) (imagestorage.Records, error) {
	out := imagestorage.Records{Known: true}
	for _, resource := range recordKinds {
		list, err := c.Applier.Client.Resource(resource).List(ctx, metav1.ListOptions{Limit: 1})
		if apierrors.IsNotFound(err) {
			continue // the kind does not exist, so nothing of it does
		}
		if err != nil {
			return imagestorage.Records{}, fmt.Errorf("count %s: %w", resource.Resource, err)
		}
		out.Count += int64(len(list.Items))
		switch rest := list.GetRemainingItemCount(); {
		case rest != nil:
			out.Count += *rest
		case list.GetContinue() != "":
			out.Known = false // there are more, and nobody says how many
		}
	}
	return out, nil
}

// records are the numbers that only inform, looked at now and then. Without an answer they are unknown.
func (c *Controller) records(ctx context.Context, place string) imagestorage.Records {
	if place != string(registryv1.ImageStorageCRD) {
		return imagestorage.Records{}
	}
	if now := c.Clock.Now(); c.memory.recordsAt.IsZero() || now.Sub(c.memory.recordsAt) >= recordsInterval {
		if found, err := c.countRecords(ctx); err == nil {
			c.memory.records, c.memory.recordsAt = found, now
		}
	}
	return c.memory.records
}

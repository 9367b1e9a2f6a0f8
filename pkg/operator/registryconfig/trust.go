package registryconfig

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/hostcerts"
	"image.alauda.io/registry/pkg/operator/apply"
)

// keepRegistrations renews the CA in what sends requests to the API server, and nothing else of it: in state
// Unmanaged an administrator may have changed the rest, and it is his until he goes back to Managed.
func (c *Controller) keepRegistrations(ctx context.Context) error {
	return errors.Join(
		c.keepCA(ctx, apply.Ref{Kind: "APIService", Name: apiServiceName}, c.servedHere, c.setServiceCA),
		c.keepCA(ctx, lookupWebhook, c.lookedUpHere, c.setWebhookCA))
}

// keepCA applies the CA of a registration together with what the operator still owns of it, so that nothing is
// taken from anybody, and nothing is dropped.
func (c *Controller) keepCA(ctx context.Context, ref apply.Ref, ours func(*unstructured.Unstructured) bool, setCA func(kept, live map[string]any) error) error {
	live, err := c.Applier.Live(ctx, ref)
	if err != nil || live == nil || !ours(live) {
		return err
	}
	owned, err := apply.Owned(live, c.Applier.FieldManager)
	if err != nil || owned == nil {
		return err
	}
	kept := &unstructured.Unstructured{Object: runtime.DeepCopyJSON(owned)}
	kept.SetAPIVersion(live.GetAPIVersion())
	kept.SetKind(live.GetKind())
	kept.SetName(live.GetName())
	if err := setCA(kept.Object, live.Object); err != nil {
		return fmt.Errorf("CA of %s: %w", ref, err)
	}
	return c.apply(ctx, kept)
}

// Trusted is the CA of our servers as kube-apiserver and the nodes get it now, by the object where it stands. An
// object that does not exist, or does not lead to our servers, has none.
func (c *Controller) Trusted() map[string][]byte {
	found := map[string][]byte{}
	add := func(ref apply.Ref, fields map[string]any, path ...string) {
		text, _, err := unstructured.NestedString(fields, path...)
		if pem, decodeErr := base64.StdEncoding.DecodeString(text); err == nil && decodeErr == nil && text != "" {
			found[ref.String()] = pem
		}
	}
	service := apply.Ref{Kind: "APIService", Name: apiServiceName}
	if object := c.Applier.Cache.Get(service); object != nil && c.servedHere(object) {
		add(service, object.Object, "spec", "caBundle")
	}
	if object := c.Applier.Cache.Get(lookupWebhook); object != nil {
		webhooks, _, _ := unstructured.NestedSlice(object.Object, "webhooks")
		for _, webhook := range webhooks {
			if fields, _ := webhook.(map[string]any); c.asksHere(fields) {
				add(lookupWebhook, fields, "clientConfig", "caBundle")
			}
		}
	}
	key, err := hostcerts.Key(c.Settings.InternalHost())
	if pem, set := c.configMapData(registryv1.ConfigMapCertificates)[key]; err == nil && set {
		found[c.inNamespace("ConfigMap", registryv1.ConfigMapCertificates).String()] = []byte(pem)
	}
	return found
}

func (c *Controller) encodedCA() string {
	return base64.StdEncoding.EncodeToString([]byte(c.bundle()))
}

func (c *Controller) setServiceCA(kept, _ map[string]any) error {
	return unstructured.SetNestedField(kept, c.encodedCA(), "spec", "caBundle")
}

// setWebhookCA sets the CA of each webhook that asks our server. The others stay as they are.
func (c *Controller) setWebhookCA(kept, live map[string]any) error {
	owned := map[any]map[string]any{}
	mine, _, err := unstructured.NestedSlice(kept, "webhooks")
	if err != nil {
		return err
	}
	for _, webhook := range mine {
		if fields, ok := webhook.(map[string]any); ok {
			owned[fields["name"]] = fields
		}
	}
	all, _, err := unstructured.NestedSlice(live, "webhooks")
	if err != nil {
		return err
	}
	var webhooks []any
	for _, webhook := range all {
		fields, _ := webhook.(map[string]any)
		entry := owned[fields["name"]]
		if c.asksHere(fields) {
			if entry == nil {
				entry = map[string]any{"name": fields["name"]}
			}
			if err := unstructured.SetNestedField(entry, c.encodedCA(), "clientConfig", "caBundle"); err != nil {
				return err
			}
		}
		if entry != nil {
			webhooks = append(webhooks, entry)
		}
	}
	return unstructured.SetNestedSlice(kept, webhooks, "webhooks")
}

package app

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	imageregistryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/pruner/references"
	"image.alauda.io/registry/pkg/pruner/roots"
)

const registryPort = "5000"

// hosts collects the names of the registry. known are those that count for --match-hosts=known; nil means
// that hosts are not compared. names are those by which references are found in the middle of a text. The
// repositories of the streams are added when they are read.
//
// Names that cannot be read end the run when only they count: a reference under one of them would protect
// nothing.
func (r *run) hosts(ctx context.Context, config *roots.Config) (known, names *references.Hosts, err error) {
	names = references.NewHosts(imageregistryv1.RegistryName+"."+imageregistryv1.DefaultNamespace, registryPort)
	names.Add(r.RegistryHosts...)
	names.Add(config.RegistryHosts...)
	if err := r.namesOfConfig(ctx, names); err != nil {
		return nil, nil, err
	}
	if !r.KnownHostsOnly() {
		return nil, names, nil
	}
	return names, names, r.namesOfService(ctx, names)
}

func (r *run) namesOfService(ctx context.Context, hosts *references.Hosts) error {
	namespace, name := imageregistryv1.DefaultNamespace, imageregistryv1.RegistryName
	service, err := r.kube.CoreV1().Services(namespace).Get(ctx, name, metav1.GetOptions{})
	switch {
	case err == nil:
		hosts.AddAddress(service.Spec.ClusterIPs...)
		hosts.AddAddress(service.Spec.ClusterIP)
		hosts.AddAddress(service.Spec.ExternalIPs...)
		for _, ingress := range service.Status.LoadBalancer.Ingress {
			hosts.AddAddress(ingress.IP)
		}
	case !apierrors.IsNotFound(err):
		return hostsUnknown("Service "+namespace+"/"+name, err)
	}
	return nil
}

func (r *run) namesOfConfig(ctx context.Context, hosts *references.Hosts) error {
	config, err := r.image.ImageregistryV1().Configs().Get(ctx, imageregistryv1.SingletonName, metav1.GetOptions{})
	switch {
	case err == nil:
		hosts.Add(config.Status.InternalRegistryHostname)
		hosts.Add(config.Status.ExternalRegistryHostnames...)
		for _, route := range config.Spec.Routes {
			hosts.Add(route.Hostname)
		}
		hosts.Add(config.Spec.ImagePullSecret.AdditionalRegistryHosts...)
	case apierrors.IsForbidden(err) && !r.KnownHostsOnly():
	case !apierrors.IsNotFound(err):
		return hostsUnknown("Config "+imageregistryv1.SingletonName, err)
	}
	return nil
}

// hostsUnknown is worth another attempt unless the API server refused.
func hostsUnknown(object string, err error) error {
	err = fmt.Errorf("the names of the registry in %s could not be read: %w", object, err)
	if apierrors.IsForbidden(err) {
		return failure(exitReferences, "%w", err)
	}
	return retryable(exitReferences, err)
}

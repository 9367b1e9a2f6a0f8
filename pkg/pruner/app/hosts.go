package app

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	imageregistryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/pruner/references"
)

const registryPort = "5000"

// hosts collects the names of the registry for --match-hosts=known; nil means that hosts are not compared.
// Names that cannot be read end the run: a reference under one of them would protect nothing. The
// repositories of the streams are added when they are read.
func (r *run) hosts(ctx context.Context) (*references.Hosts, error) {
	if !r.KnownHostsOnly() {
		return nil, nil
	}
	namespace, name := imageregistryv1.DefaultNamespace, imageregistryv1.RegistryName
	hosts := references.NewHosts(name+"."+namespace, registryPort)
	hosts.Add(r.RegistryHosts...)

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
		return nil, hostsUnknown("Service "+namespace+"/"+name, err)
	}
	config, err := r.image.ImageregistryV1().Configs().Get(ctx, imageregistryv1.SingletonName, metav1.GetOptions{})
	switch {
	case err == nil:
		hosts.Add(config.Status.InternalRegistryHostname)
		hosts.Add(config.Status.ExternalRegistryHostnames...)
		for _, route := range config.Spec.Routes {
			hosts.Add(route.Hostname)
		}
		hosts.Add(config.Spec.ImagePullSecret.AdditionalRegistryHosts...)
	case !apierrors.IsNotFound(err):
		return nil, hostsUnknown("Config "+imageregistryv1.SingletonName, err)
	}
	return hosts, nil
}

// hostsUnknown is worth another attempt unless the API server refused.
func hostsUnknown(object string, err error) error {
	err = fmt.Errorf("--match-hosts=known: the names of the registry in %s could not be read: %w", object, err)
	if apierrors.IsForbidden(err) {
		return failure(exitReferences, "%w", err)
	}
	return retryable(exitReferences, err)
}

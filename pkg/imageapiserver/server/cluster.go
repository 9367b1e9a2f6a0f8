package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/apimachinery/pkg/util/wait"
	mutatingpolicy "k8s.io/apiserver/pkg/admission/plugin/policy/mutating"
	validatingpolicy "k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"

	"image.alauda.io/registry/pkg/imageapiserver/storage"
)

const (
	// recordsTimeout is how long the operator may take to install the record kinds.
	recordsTimeout  = 30 * time.Second
	recordsInterval = 500 * time.Millisecond
	// rightsTimeout is how long the own RoleBindings may take to be known to kube-apiserver.
	rightsTimeout = 20 * time.Second
)

// minimumKubernetes is the oldest supported kube-apiserver.
var minimumKubernetes = version.MustParseGeneric("1.30")

// ErrAggregationDisabled says that kube-apiserver does not proxy to aggregated servers. The operator
// looks for this text.
var ErrAggregationDisabled = errors.New("AggregationLayerDisabled: ConfigMap kube-system/extension-apiserver-authentication has no requestheader-client-ca-file, kube-apiserver runs without its aggregation layer")

// checkCluster refuses clusters on which the server cannot work.
func checkCluster(ctx context.Context, client kubernetes.Interface) error {
	info, err := client.Discovery().ServerVersion()
	if err != nil {
		return fmt.Errorf("version of kube-apiserver: %w", err)
	}
	served, err := version.ParseGeneric(info.GitVersion)
	if err != nil {
		return fmt.Errorf("version %q of kube-apiserver: %w", info.GitVersion, err)
	}
	if served.LessThan(minimumKubernetes) {
		return fmt.Errorf("kube-apiserver has version %s, at least %s is needed", info.GitVersion, minimumKubernetes)
	}
	config, err := authenticationConfiguration(ctx, client, rightsTimeout)
	if err != nil {
		return err
	}
	if config.Data["requestheader-client-ca-file"] == "" {
		return ErrAggregationDisabled
	}
	return nil
}

// authenticationConfiguration reads what aggregated servers need to know of kube-apiserver. A refusal is waited
// for: RoleBindings take effect a moment after they were made, and the server starts at the same time as its own.
func authenticationConfiguration(ctx context.Context, client kubernetes.Interface, patience time.Duration) (*corev1.ConfigMap, error) {
	var config *corev1.ConfigMap
	var refusal error
	err := wait.PollUntilContextTimeout(ctx, recordsInterval, patience, true, func(ctx context.Context) (bool, error) {
		var err error
		config, err = client.CoreV1().ConfigMaps(metav1.NamespaceSystem).Get(ctx, "extension-apiserver-authentication", metav1.GetOptions{})
		if apierrors.IsForbidden(err) {
			refusal = err
			return false, nil
		}
		return err == nil, err
	})
	if wait.Interrupted(err) && refusal != nil {
		err = refusal
	}
	if err != nil {
		return nil, fmt.Errorf("ConfigMap kube-system/extension-apiserver-authentication: %w", err)
	}
	return config, nil
}

// unavailablePlugins names the admission plugins whose objects this cluster does not serve. Their
// informers would never sync, and every write would be refused.
func unavailablePlugins(client discovery.DiscoveryInterface) ([]string, error) {
	served, err := servedResources(client, "admissionregistration.k8s.io/v1")
	if err != nil {
		return nil, err
	}
	var missing []string
	for plugin, resource := range map[string]string{
		mutatingpolicy.PluginName:   "mutatingadmissionpolicies",
		validatingpolicy.PluginName: "validatingadmissionpolicies",
	} {
		if !slices.Contains(served, resource) {
			missing = append(missing, plugin)
		}
	}
	slices.Sort(missing)
	return missing, nil
}

// waitForRecords waits until kube-apiserver serves all record kinds.
func waitForRecords(ctx context.Context, client discovery.DiscoveryInterface) error {
	var missing []string
	err := wait.PollUntilContextTimeout(ctx, recordsInterval, recordsTimeout, true, func(context.Context) (bool, error) {
		missing = nil
		for _, resource := range storage.Resources() {
			served, err := servedResources(client, resource.Records.GroupVersion().String())
			if err != nil {
				return false, err
			}
			if !slices.Contains(served, resource.Records.Resource) {
				missing = append(missing, resource.Records.GroupResource().String())
			}
		}
		return len(missing) == 0, nil
	})
	if len(missing) > 0 {
		return fmt.Errorf("kube-apiserver does not serve %v after %s: the custom resource definitions of the storage are not installed", missing, recordsTimeout)
	}
	return err
}

// servedResources lists the resources of a group version, none when it is not served.
func servedResources(client discovery.DiscoveryInterface, groupVersion string) ([]string, error) {
	list, err := client.ServerResourcesForGroupVersion(groupVersion)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("discovery of %s: %w", groupVersion, err)
	}
	var names []string
	for _, resource := range list.APIResources {
		names = append(names, resource.Name)
	}
	return names, nil
}

// mayUseFlowControl tells whether the server may read the cluster's flow schemas. Without that right
// it limits requests by number, instead of never becoming ready.
func mayUseFlowControl(ctx context.Context, client kubernetes.Interface) (bool, error) {
	for _, resource := range []string{"flowschemas", "prioritylevelconfigurations"} {
		for _, verb := range []string{"list", "watch"} {
			review, err := client.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{
				Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{
					Verb: verb, Group: "flowcontrol.apiserver.k8s.io", Resource: resource,
				}},
			}, metav1.CreateOptions{})
			if err != nil {
				return false, fmt.Errorf("own right to %s %s: %w", verb, resource, err)
			}
			if !review.Status.Allowed {
				klog.InfoS("Priority and fairness is off: the server may not read its configuration", "verb", verb, "resource", resource)
				return false, nil
			}
		}
	}
	return true, nil
}

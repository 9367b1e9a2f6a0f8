package registryconfig

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/klog/v2"

	registryv1 "image.alauda.io/api/imageregistry/v1"
)

// maxTrouble bounds what others put into a condition.
const maxTrouble = 400

// trouble says of each Deployment that lacks Pods why, as far as the cluster tells. It costs a request, so nobody
// is asked while all is well, and a request that fails only makes the conditions say less.
func (c *Controller) trouble(ctx context.Context, config *registryv1.Config, w workloads) map[string]string {
	out := map[string]string{}
	if config.Spec.ManagementState != registryv1.Managed {
		return out
	}
	for _, deployment := range []*appsv1.Deployment{w.registry, w.apiServer} {
		if deployment == nil || deployment.Status.UnavailableReplicas == 0 {
			continue
		}
		if text := refusedPods(deployment); text != "" {
			out[deployment.Name] = text
			continue
		}
		pods, err := c.Kube.CoreV1().Pods(deployment.Namespace).List(ctx, metav1.ListOptions{
			LabelSelector: labels.Set{registryv1.LabelName: deployment.Name}.String(),
		})
		if err != nil {
			klog.FromContext(ctx).V(2).Info("Pods cannot be listed", "deployment", deployment.Name, "err", err)
			continue
		}
		if text := podTrouble(pods.Items); text != "" {
			out[deployment.Name] = text
		}
	}
	return out
}

// refusedPods tells why no Pod can be made: a quota, a policy, or a webhook of somebody.
func refusedPods(deployment *appsv1.Deployment) string {
	for _, condition := range deployment.Status.Conditions {
		if condition.Type == appsv1.DeploymentReplicaFailure && condition.Status == corev1.ConditionTrue {
			return "the cluster refuses its Pods: " + brief(condition.Message)
		}
	}
	return ""
}

// podTrouble is the worst that is wrong with a Pod. It names no Pod, whose name is another one after each attempt,
// and speaks in the same way of all the states between which a Pod that does not come up goes back and forth.
func podTrouble(pods []corev1.Pod) string {
	var found []string
	for i := range pods {
		if pods[i].DeletionTimestamp != nil || podReady(&pods[i]) {
			continue
		}
		if text := troubleOf(&pods[i]); text != "" {
			found = append(found, text)
		}
	}
	if len(found) == 0 {
		return ""
	}
	return slices.MinFunc(found, cmp.Compare[string])
}

func troubleOf(pod *corev1.Pod) string {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodScheduled && condition.Status == corev1.ConditionFalse {
			return "a Pod finds no node: " + brief(condition.Message)
		}
	}
	for _, status := range pod.Status.ContainerStatuses {
		if waiting := status.State.Waiting; waiting != nil {
			switch waiting.Reason {
			case "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull":
				return fmt.Sprintf("image %s cannot be pulled", status.Image)
			case "CreateContainerConfigError", "CreateContainerError", "RunContainerError":
				return "a container cannot be started: " + brief(waiting.Message)
			}
		}
		for _, state := range []corev1.ContainerState{status.State, status.LastTerminationState} {
			if ended := state.Terminated; ended != nil && ended.ExitCode != 0 {
				return fmt.Sprintf("container %s ends with code %d; see its log", status.Name, ended.ExitCode)
			}
		}
	}
	return ""
}

func brief(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > maxTrouble {
		text = strings.ToValidUTF8(text[:maxTrouble], "") + "…"
	}
	return text
}

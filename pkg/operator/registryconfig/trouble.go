package registryconfig

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/klog/v2"

	registryv1 "image.alauda.io/api/imageregistry/v1"
)

// maxTrouble bounds what others put into a condition.
const maxTrouble = 400

// trouble says of each Deployment that lacks Pods, and of the agents when there is none, why, as far as the cluster
// tells. It costs a request, so nobody is asked while all is well, and a request that fails only makes the conditions
// say less.
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
		c.addPodTrouble(ctx, out, deployment.Name, 0)
	}
	if daemons := w.nodeCA; daemons != nil && daemons.Status.DesiredNumberScheduled > 0 && daemons.Status.NumberAvailable == 0 {
		c.addPodTrouble(ctx, out, daemons.Name, someAgents)
	}
	return out
}

// someAgents of thousands tell why none of them comes up.
const someAgents = 20

func (c *Controller) addPodTrouble(ctx context.Context, out map[string]string, name string, most int64) {
	pods, err := c.Kube.CoreV1().Pods(c.Settings.Namespace).List(ctx, metav1.ListOptions{
		LabelSelector: labels.Set{registryv1.LabelName: name}.String(), Limit: most,
	})
	if err != nil {
		klog.FromContext(ctx).V(2).Info("Pods cannot be listed", "name", name, "err", err)
		return
	}
	if text := podTrouble(pods.Items, c.Clock.Now()); text != "" {
		out[name] = text
	}
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
// and speaks in the same way of all the states between which a Pod that does not come up goes back and forth. A Pod
// that has ended for good, as evicted ones do, is asked only when there is no other: it may lie around for weeks.
func podTrouble(pods []corev1.Pod, now time.Time) string {
	for _, over := range []bool{false, true} {
		var found []string
		for i := range pods {
			if pods[i].DeletionTimestamp != nil || podReady(&pods[i]) || isOver(&pods[i]) != over {
				continue
			}
			if text := troubleOf(&pods[i], now); text != "" {
				found = append(found, text)
			}
		}
		if len(found) > 0 {
			return slices.MinFunc(found, cmp.Compare[string])
		}
	}
	return ""
}

func isOver(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded
}

// recovered is how long a container has to run for its last end to mean nothing: the pause before an attempt never
// takes longer than five minutes.
const recovered = 10 * time.Minute

func troubleOf(pod *corev1.Pod, now time.Time) string {
	if pod.Status.Phase == corev1.PodFailed && pod.Status.Reason != "" {
		return fmt.Sprintf("the node ended a Pod (%s): %s", pod.Status.Reason, brief(pod.Status.Message))
	}
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodScheduled && condition.Status == corev1.ConditionFalse {
			return "a Pod finds no node: " + brief(condition.Message)
		}
	}
	for _, status := range pod.Status.ContainerStatuses {
		if text := containerTrouble(status, now); text != "" {
			return text
		}
	}
	return ""
}

func containerTrouble(status corev1.ContainerStatus, now time.Time) string {
	if waiting := status.State.Waiting; waiting != nil {
		switch waiting.Reason {
		case "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull":
			return fmt.Sprintf("image %s cannot be pulled", status.Image)
		case "CreateContainerConfigError", "CreateContainerError", "RunContainerError":
			return "a container cannot be started: " + brief(waiting.Message)
		}
	}
	if status.Ready {
		return "" // the Pod waits for another one
	}
	if running := status.State.Running; running != nil && now.Sub(running.StartedAt.Time) > recovered {
		return fmt.Sprintf("container %s runs but is not ready; see its log", status.Name)
	}
	for _, state := range []corev1.ContainerState{status.State, status.LastTerminationState} {
		ended := state.Terminated
		switch {
		case ended == nil || ended.ExitCode == 0:
		case ended.Reason == "OOMKilled":
			return fmt.Sprintf("container %s needs more memory than its limit", status.Name)
		default:
			return fmt.Sprintf("container %s ends with code %d; see its log", status.Name, ended.ExitCode)
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

package server

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/record"
)

const (
	// configMapName is where the operator writes the configuration.
	configMapName = "image-api-server-config"
	// reasonConfigRefused is the reason of the Event.
	reasonConfigRefused = "ConfigRefused"
	lookupTimeout       = 5 * time.Second
)

// configWarner tells about a changed configuration that cannot be used at the ConfigMap that holds it. The
// server goes on with the last good one, so nothing else would show it but the log and a metric.
type configWarner struct {
	client    kubernetes.Interface
	events    record.EventRecorder
	namespace string
}

func (w configWarner) refused(err error) {
	object := &corev1.ObjectReference{APIVersion: "v1", Kind: "ConfigMap", Namespace: w.namespace, Name: configMapName}
	ctx, cancel := context.WithTimeout(context.Background(), lookupTimeout)
	defer cancel()
	// Without its UID the Event is not shown with the object, but it is still there.
	if found, err := w.client.CoreV1().ConfigMaps(w.namespace).Get(ctx, configMapName, metav1.GetOptions{}); err == nil {
		object.UID = found.UID
	}
	w.events.Event(object, corev1.EventTypeWarning, reasonConfigRefused, "The last good configuration stays in force: "+err.Error())
}

package v1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// +genclient
// +genclient:nonNamespaced
// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=imagepruners,singular=imagepruner,scope=Cluster
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Schedule",type=string,JSONPath=`.spec.schedule`
// +kubebuilder:printcolumn:name="Suspend",type=boolean,JSONPath=`.spec.suspend`
// +kubebuilder:printcolumn:name="Last Run",type=date,JSONPath=`.status.lastRun.completionTime`
// +kubebuilder:printcolumn:name="Result",type=string,JSONPath=`.status.lastRun.result`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="self.metadata.name == 'cluster'",message="ImagePruner is a singleton and must be called cluster"

// ImagePruner describes the scheduled clean-up of images that nobody uses. The
// only instance is called cluster.
type ImagePruner struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is the wanted clean-up.
	// +optional
	Spec ImagePrunerSpec `json:"spec,omitempty"`
	// status is the observed clean-up.
	// +optional
	Status ImagePrunerStatus `json:"status,omitempty"`
}

// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object
// +kubebuilder:object:root=true

// ImagePrunerList is a list of ImagePruners.
type ImagePrunerList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []ImagePruner `json:"items"`
}

// ImagePrunerSpec is the wanted clean-up. Unset fields follow the operator's
// defaults, which are not written into the object.
type ImagePrunerSpec struct {
	// schedule in cron format; "0 0 * * *" if empty.
	// +kubebuilder:validation:MaxLength=256
	// +optional
	Schedule string `json:"schedule,omitempty"`
	// timeZone of the schedule, as "Asia/Shanghai".
	// +kubebuilder:validation:MaxLength=128
	// +optional
	TimeZone *string `json:"timeZone,omitempty"`
	// suspend stops scheduled runs. The operator creates the object with true; unset means false.
	// +optional
	Suspend *bool `json:"suspend,omitempty"`
	// keepTagRevisions is the number of the newest revisions that stay for each tag; 3 if unset.
	// +kubebuilder:validation:Minimum=0
	// +optional
	KeepTagRevisions *int32 `json:"keepTagRevisions,omitempty"`
	// keepYoungerThanDuration protects what is younger, as "72h"; 60m if unset.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=40
	// +kubebuilder:validation:Pattern=`^(0|([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+)$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s')",message="must be a duration that is not negative, as 60m or 168h"
	// +optional
	KeepYoungerThanDuration *metav1.Duration `json:"keepYoungerThanDuration,omitempty"`
	// keepYoungerThan is deprecated: nanoseconds, used only without
	// keepYoungerThanDuration.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:XValidation:rule="self == 0 || self >= 1000000000",message="is in nanoseconds, and less than a second protects nothing; use keepYoungerThanDuration, as 60m"
	// +optional
	KeepYoungerThan *int64 `json:"keepYoungerThan,omitempty"`
	// resources of the pruner's container.
	// +structType=atomic
	// +optional
	Resources *corev1.ResourceRequirements `json:"resources,omitempty"`
	// affinity of the pruner's Pods.
	// +optional
	Affinity *corev1.Affinity `json:"affinity,omitempty"`
	// nodeSelector of the pruner's Pods.
	// +optional
	NodeSelector map[string]string `json:"nodeSelector,omitempty"`
	// tolerations of the pruner's Pods.
	// +listType=atomic
	// +optional
	Tolerations []corev1.Toleration `json:"tolerations,omitempty"`
	// successfulJobsHistoryLimit is the number of kept successful Jobs; 3 if
	// unset.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	// +optional
	SuccessfulJobsHistoryLimit *int32 `json:"successfulJobsHistoryLimit,omitempty"`
	// failedJobsHistoryLimit is the number of kept failed Jobs; 3 if unset.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	// +optional
	FailedJobsHistoryLimit *int32 `json:"failedJobsHistoryLimit,omitempty"`
	// startingDeadlineSeconds is how late a run may start; 3600 if unset.
	// +kubebuilder:validation:Minimum=10
	// +kubebuilder:validation:Maximum=2147483647
	// +optional
	StartingDeadlineSeconds *int64 `json:"startingDeadlineSeconds,omitempty"`
	// activeDeadlineSeconds ends a run that takes longer.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=2147483647
	// +optional
	ActiveDeadlineSeconds *int64 `json:"activeDeadlineSeconds,omitempty"`
	// ignoreInvalidImageReferences goes on when a workload names an image that
	// cannot be parsed. What such a workload uses may then be pruned.
	// +optional
	IgnoreInvalidImageReferences bool `json:"ignoreInvalidImageReferences,omitempty"`
	// excludedRootKinds are custom kinds whose objects do not protect the images
	// that they name, as "widgets.example.com", or "example.com" for all kinds
	// of a group. Other custom kinds that may use images must be readable for
	// the pruner, or no run deletes anything.
	// +listType=set
	// +kubebuilder:validation:MaxItems=100
	// +kubebuilder:validation:items:MaxLength=253
	// +kubebuilder:validation:items:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)+$`
	// +kubebuilder:validation:XValidation:rule="self.all(k, !(k in ['replicasets.apps','deployments.apps','daemonsets.apps','statefulsets.apps','controllerrevisions.apps','jobs.batch','cronjobs.batch']))",message="kinds of Kubernetes itself are always read; only custom kinds can be left out"
	// +optional
	ExcludedRootKinds []string `json:"excludedRootKinds,omitempty"`
	// logLevel of the pruner.
	// +kubebuilder:default=Normal
	// +optional
	LogLevel LogLevel `json:"logLevel,omitempty"`
	// pruneRegistry also frees the storage of pruned images, by a collection in the registry; false if unset.
	// +optional
	PruneRegistry bool `json:"pruneRegistry,omitempty"`
}

// ImagePrunerStatus is the observed clean-up.
type ImagePrunerStatus struct {
	// observedGeneration is the last generation of spec that was processed.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// conditions are the observations of the operator.
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []OperatorCondition `json:"conditions,omitempty"`
	// lastRun is the newest finished run.
	// +optional
	LastRun *PruneRunStatus `json:"lastRun,omitempty"`
}

// PruneRunStatus is the result of one run of the pruner.
type PruneRunStatus struct {
	// startTime is the start of the run.
	// +optional
	StartTime *metav1.Time `json:"startTime,omitempty"`
	// completionTime is the end of the run.
	// +optional
	CompletionTime *metav1.Time `json:"completionTime,omitempty"`
	// result is Succeeded or Failed.
	// +optional
	Result string `json:"result,omitempty"`
	// PruneSummary counts what the run did.
	PruneSummary `json:",inline"`
}

// PruneSummary counts what a run of the pruner did.
type PruneSummary struct {
	// imagesDeleted counts deleted images.
	// +optional
	ImagesDeleted int64 `json:"imagesDeleted,omitempty"`
	// tagRevisionsDeleted counts revisions taken from tag histories.
	// +optional
	TagRevisionsDeleted int64 `json:"tagRevisionsDeleted,omitempty"`
	// imageStreamsUpdated counts changed streams.
	// +optional
	ImageStreamsUpdated int64 `json:"imageStreamsUpdated,omitempty"`
	// layerLinksDeleted counts layers taken from repositories.
	// +optional
	LayerLinksDeleted int64 `json:"layerLinksDeleted,omitempty"`
	// manifestLinksDeleted counts manifests taken from repositories.
	// +optional
	ManifestLinksDeleted int64 `json:"manifestLinksDeleted,omitempty"`
	// blobsDeleted counts blobs deleted from storage.
	// +optional
	BlobsDeleted int64 `json:"blobsDeleted,omitempty"`
	// bytesReclaimed is the storage freed, in bytes.
	// +optional
	BytesReclaimed int64 `json:"bytesReclaimed,omitempty"`
	// skipped counts what changed under the run and was left alone.
	// +optional
	Skipped int64 `json:"skipped,omitempty"`
	// failed counts what could not be done.
	// +optional
	Failed int64 `json:"failed,omitempty"`
}

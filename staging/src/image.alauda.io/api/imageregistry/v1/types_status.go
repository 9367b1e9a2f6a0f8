package v1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// ConfigStatus is the observed state of the registry.
type ConfigStatus struct {
	// observedGeneration is the last generation of spec that was processed.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// conditions are the observations of the operator.
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []OperatorCondition `json:"conditions,omitempty"`
	// version is the version of the operands that is fully rolled out.
	// +optional
	Version string `json:"version,omitempty"`
	// readyReplicas are the registry replicas that are ready.
	// +optional
	ReadyReplicas int32 `json:"readyReplicas"`
	// replicas are the registry replicas that the operator set.
	// +optional
	Replicas int32 `json:"replicas,omitempty"`
	// replicasReason says why: AsSpecified, SingleWriterVolume, ScaledToZero.
	// +optional
	ReplicasReason string `json:"replicasReason,omitempty"`
	// rolloutStrategy is the effective strategy.
	// +optional
	RolloutStrategy string `json:"rolloutStrategy,omitempty"`
	// nodeCA counts the Pods of the node agent.
	// +optional
	NodeCA ReadyCount `json:"nodeCA,omitempty"`
	// pullSecrets counts ServiceAccounts in scope and those with a valid pull
	// secret.
	// +optional
	PullSecrets ReadyCount `json:"pullSecrets,omitempty"`
	// certificates are the certificates of the registry with the end of their lives.
	// +listType=map
	// +listMapKey=name
	// +optional
	Certificates []CertificateStatus `json:"certificates,omitempty"`
	// lastPrune is the last run of the pruner.
	// +optional
	LastPrune *LastPruneStatus `json:"lastPrune,omitempty"`
	// imageAPIStorage says where image metadata lies: CRD, or
	// Etcd/<first endpoint>/<prefix>.
	// +optional
	ImageAPIStorage string `json:"imageAPIStorage,omitempty"`
	// latestAvailableRevision is unused.
	// +optional
	LatestAvailableRevision int32 `json:"latestAvailableRevision,omitempty"`
	// generations are the workloads that the operator wrote.
	// +listType=map
	// +listMapKey=group
	// +listMapKey=resource
	// +listMapKey=namespace
	// +listMapKey=name
	// +optional
	Generations []GenerationStatus `json:"generations,omitempty"`
	// storage is the effective storage with all defaults resolved.
	// +optional
	Storage *StorageSpec `json:"storage,omitempty"`
	// storageManaged is deprecated: see storage.managementState.
	// +optional
	StorageManaged bool `json:"storageManaged,omitempty"`
	// internalRegistryHostname is the registry's host inside the cluster; empty
	// while Removed.
	// +optional
	InternalRegistryHostname string `json:"internalRegistryHostname,omitempty"`
	// externalRegistryHostnames are the registry's hosts outside the cluster.
	// +listType=atomic
	// +optional
	ExternalRegistryHostnames []string `json:"externalRegistryHostnames,omitempty"`
}

// ReadyCount counts wanted and ready things.
type ReadyCount struct {
	// desired is the wanted number.
	// +optional
	Desired int32 `json:"desired"`
	// ready is the number that is ready.
	// +optional
	Ready int32 `json:"ready"`
}

// CertificateStatus is one certificate of the operator.
type CertificateStatus struct {
	// name of the certificate.
	// +required
	Name string `json:"name"`
	// notAfter is the end of its validity.
	// +optional
	NotAfter metav1.Time `json:"notAfter,omitempty"`
}

// LastPruneStatus is the last run of the pruner in short.
type LastPruneStatus struct {
	// completionTime is the end of the run.
	// +optional
	CompletionTime *metav1.Time `json:"completionTime,omitempty"`
	// result is Succeeded or Failed.
	// +optional
	Result string `json:"result,omitempty"`
}

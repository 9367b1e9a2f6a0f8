package v1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// ManagementState says whether the operator works on something.
type ManagementState string

const (
	// Managed: the operator installs it and keeps it as specified.
	Managed ManagementState = "Managed"
	// Unmanaged: the operator leaves it as it is.
	Unmanaged ManagementState = "Unmanaged"
	// Removed: the operator takes it away.
	Removed ManagementState = "Removed"
)

// LogLevel says how much a workload logs.
// +kubebuilder:validation:Enum="";Normal;Debug;Trace;TraceAll
type LogLevel string

const (
	LogNormal   LogLevel = "Normal"
	LogDebug    LogLevel = "Debug"
	LogTrace    LogLevel = "Trace"
	LogTraceAll LogLevel = "TraceAll"
)

// ConditionStatus is the status of a condition.
// +kubebuilder:validation:Enum="True";"False";Unknown
type ConditionStatus string

const (
	ConditionTrue    ConditionStatus = "True"
	ConditionFalse   ConditionStatus = "False"
	ConditionUnknown ConditionStatus = "Unknown"
)

// OperatorCondition is one observation of the operator.
type OperatorCondition struct {
	// type names the condition in CamelCase.
	// +required
	Type string `json:"type"`
	// status is True, False or Unknown.
	// +required
	Status ConditionStatus `json:"status"`
	// lastTransitionTime is the time of the last change of status.
	// +optional
	LastTransitionTime metav1.Time `json:"lastTransitionTime,omitempty"`
	// reason is a single CamelCase word for the cause.
	// +optional
	Reason string `json:"reason,omitempty"`
	// message explains the status to people, one sentence per finding.
	// +optional
	Message string `json:"message,omitempty"`
}

// GenerationStatus remembers the last state the operator gave to a workload.
type GenerationStatus struct {
	// group is the API group of the workload.
	// +required
	Group string `json:"group"`
	// resource is the resource of the workload.
	// +required
	Resource string `json:"resource"`
	// namespace is the namespace of the workload.
	// +required
	Namespace string `json:"namespace"`
	// name is the name of the workload.
	// +required
	Name string `json:"name"`
	// lastGeneration is the generation after the operator's last write.
	// +optional
	LastGeneration int64 `json:"lastGeneration,omitempty"`
	// hash is the hash of the Pod template.
	// +optional
	Hash string `json:"hash,omitempty"`
}

// ConfigMapReference names a ConfigMap in the operand namespace.
type ConfigMapReference struct {
	// name of the ConfigMap.
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^$|^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	// +optional
	Name string `json:"name,omitempty"`
}

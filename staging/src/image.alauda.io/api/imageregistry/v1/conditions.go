package v1

// Condition types of Config.
const (
	ConditionAvailable     = "Available"
	ConditionProgressing   = "Progressing"
	ConditionDegraded      = "Degraded"
	ConditionRemoved       = "Removed"
	ConditionStorageExists = "StorageExists"
	// ConditionStorageReady is the result of the last test of an object store.
	ConditionStorageReady             = "StorageReady"
	ConditionImageAPIServerAvailable  = "ImageAPIServerAvailable"
	ConditionNodeCAAvailable          = "NodeCADaemonAvailable"
	ConditionNodeCAProgressing        = "NodeCADaemonProgressing"
	ConditionNodeCAControllerDegraded = "NodeCADaemonControllerDegraded"
	ConditionCertificatesDegraded     = "ImageRegistryCertificatesControllerDegraded"
	ConditionPullSecretDegraded       = "ImagePullSecretControllerDegraded"
	ConditionIngressDegraded          = "IngressDegraded"
	ConditionImageStorageNearLimit    = "ImageStorageNearLimit"
)

// Condition types of ImagePruner.
const (
	ConditionPrunerScheduled = "Scheduled"
	ConditionPrunerFailed    = "Failed"
	ConditionPrunerAvailable = ConditionAvailable
	ConditionPrunerDegraded  = ConditionDegraded
)

// Reasons of the conditions that sum up: Available, Progressing, Degraded and
// Removed.
const (
	ReasonAsExpected                = "AsExpected"
	ReasonReady                     = "Ready"
	ReasonError                     = "Error"
	ReasonUnmanaged                 = "Unmanaged"
	ReasonRemoved                   = "Removed"
	ReasonRemoving                  = "Removing"
	ReasonNotRemoved                = "NotRemoved"
	ReasonRemoveFailed              = "RemoveFailed"
	ReasonDeploymentNotFound        = "DeploymentNotFound"
	ReasonDeploymentDeleted         = "DeploymentDeleted"
	ReasonScaledToZero              = "ScaledToZero"
	ReasonNoReplicasAvailable       = "NoReplicasAvailable"
	ReasonMinimumAvailability       = "MinimumAvailability"
	ReasonImageAPIServerUnavailable = "ImageAPIServerUnavailable"
	ReasonNodeCAUnavailable         = "NodeCAUnavailable"
	ReasonNodeCAUpdating            = "NodeCAUpdating"
	ReasonWaitingForDeployment      = "WaitingForDeployment"
	ReasonFinalizingDeployment      = "FinalizingDeployment"
	ReasonDeploymentNotCompleted    = "DeploymentNotCompleted"
	ReasonUnavailable               = "Unavailable"
	ReasonProgressDeadlineExceeded  = "ProgressDeadlineExceeded"
	ReasonSyncError                 = "SyncError"
	ReasonCertificatesSyncError     = "CertificatesSyncError"
	ReasonNodeCASyncError           = "NodeCASyncError"
	ReasonPullSecretSyncError       = "PullSecretSyncError"
	ReasonRouteDegraded             = "RouteDegraded"
)

// Reasons of errors that only a change of configuration heals. They make Config
// Degraded at once.
const (
	ReasonVerificationFailed           = "VerificationFailed"
	ReasonStorageNotConfigured         = "StorageNotConfigured"
	ReasonMultipleStoragesConfigured   = "MultipleStoragesConfigured"
	ReasonUnsupportedStorage           = "UnsupportedStorage"
	ReasonInvalidStorageConfiguration  = "InvalidStorageConfiguration"
	ReasonStorageChangeBlocked         = "StorageChangeBlocked"
	ReasonStorageAccessDenied          = "StorageAccessDenied"
	ReasonStoragePreflightFailed       = "StoragePreflightFailed"
	ReasonStorageCredentialsNotFound   = "StorageCredentialsNotFound"
	ReasonTrustedCANotFound            = "TrustedCANotFound"
	ReasonInvalidConfigOverrides       = "InvalidConfigOverrides"
	ReasonImageAPIStorageNotConfigured = "ImageAPIStorageNotConfigured"
	ReasonImageAPIStorageChange        = "ImageAPIStorageChange"
	ReasonAggregationLayerDisabled     = "AggregationLayerDisabled"
	ReasonInvalidServingCertificate    = "InvalidServingCertificate"
)

// ReasonRecordsNearLimit is the reason of ImageStorageNearLimit.
const ReasonRecordsNearLimit = "RecordsNearLimit"

// Reasons of StorageExists.
const (
	ReasonNotConfigured               = "NotConfigured"
	ReasonEmptyDir                    = "EmptyDir"
	ReasonPVCExists                   = "PVCExists"
	ReasonPVCCreated                  = "PVCCreated"
	ReasonPVCNotFound                 = "PVCNotFound"
	ReasonPVCLost                     = "PVCLost"
	ReasonPVCCreateFailed             = "PVCCreateFailed"
	ReasonPVCNotOwned                 = "PVCNotOwned"
	ReasonPVCIssuesFound              = "PVCIssuesFound"
	ReasonBucketExists                = "BucketExists"
	ReasonBucketCreated               = "BucketCreated"
	ReasonBucketNotFound              = "BucketNotFound"
	ReasonBucketDeleted               = "BucketDeleted"
	ReasonBucketOwnedByAnotherAccount = "BucketOwnedByAnotherAccount"
	ReasonAccessDenied                = "AccessDenied"
	ReasonCreateFailed                = "CreateFailed"
	ReasonUnknownError                = "UnknownError"
	ReasonConfigurationChanged        = "ConfigurationChanged"
)

// Reasons of ImagePruner conditions.
const (
	ReasonScheduled       = "Scheduled"
	ReasonSuspended       = "Suspended"
	ReasonRegistryRemoved = "RegistryRemoved"
	ReasonInvalidSchedule = "InvalidSchedule"
	ReasonJobFailed       = "JobFailed"
	ReasonComplete        = "Complete"
	ReasonNotRunYet       = "NotRunYet"
)

// Reasons of the effective number of replicas (status.replicasReason).
const (
	ReplicasReasonAsSpecified        = "AsSpecified"
	ReplicasReasonSingleWriterVolume = "SingleWriterVolume"
	ReplicasReasonScaledToZero       = ReasonScaledToZero
)

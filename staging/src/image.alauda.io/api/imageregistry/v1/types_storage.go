package v1

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// StorageSpec says where the registry keeps blobs. At most one backend is set.
// +kubebuilder:validation:XValidation:rule="[has(self.emptyDir), has(self.pvc), has(self.s3), has(self.gcs), has(self.azure), has(self.ibmcos)].filter(set, set).size() <= 1",message="set exactly one storage backend of emptyDir, pvc, s3, gcs, azure and ibmcos; use null in a merge patch to clear the others"
// +kubebuilder:validation:XValidation:rule="!has(self.swift) && !has(self.oss)",message="swift and oss are not supported; use s3 with regionEndpoint"
type StorageSpec struct {
	// managementState says whether the operator may create and remove storage.
	// Empty is resolved by the operator and written back.
	// +kubebuilder:validation:Enum="";Managed;Unmanaged
	// +optional
	ManagementState ManagementState `json:"managementState,omitempty"`
	// emptyDir loses all images with the Pod; for tests only.
	// +optional
	EmptyDir *EmptyDirStorage `json:"emptyDir,omitempty"`
	// pvc is a persistent volume.
	// +optional
	PVC *PVCStorage `json:"pvc,omitempty"`
	// s3 is Amazon S3 or a store that speaks its protocol.
	// +optional
	S3 *S3Storage `json:"s3,omitempty"`
	// gcs is Google Cloud Storage.
	// +optional
	GCS *GCSStorage `json:"gcs,omitempty"`
	// azure is Azure Blob Storage.
	// +optional
	Azure *AzureStorage `json:"azure,omitempty"`
	// ibmcos is not supported yet; use s3 with regionEndpoint.
	// +optional
	IBMCOS *IBMCOSStorage `json:"ibmcos,omitempty"`
	// swift is not supported.
	// +kubebuilder:validation:Type=object
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:pruning:PreserveUnknownFields
	// +optional
	Swift *runtime.RawExtension `json:"swift,omitempty"`
	// oss is not supported; use s3 with regionEndpoint.
	// +kubebuilder:validation:Type=object
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:pruning:PreserveUnknownFields
	// +optional
	OSS *runtime.RawExtension `json:"oss,omitempty"`
}

// EmptyDirStorage is a directory that lives as long as its Pod.
type EmptyDirStorage struct {
	// sizeLimit is the size at which the Pod is evicted, at least 1Mi; 0 or unset for no limit.
	// +optional
	SizeLimit *resource.Quantity `json:"sizeLimit,omitempty"`
}

// PVCStorage is a persistent volume.
type PVCStorage struct {
	// claim is a PersistentVolumeClaim in the operand namespace. Empty means
	// image-registry-storage, made by the operator.
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^$|^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	// +optional
	Claim string `json:"claim,omitempty"`
	// size of the claim that the operator makes, at least 1Mi; 100Gi if unset.
	// +optional
	Size *resource.Quantity `json:"size,omitempty"`
	// storageClassName of the claim that the operator makes; the cluster's
	// default if unset.
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^$|^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	// +optional
	StorageClassName string `json:"storageClassName,omitempty"`
	// accessModes of the claim that the operator makes.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=4
	// +kubebuilder:validation:items:Enum=ReadWriteOnce;ReadOnlyMany;ReadWriteMany;ReadWriteOncePod
	// +optional
	AccessModes []corev1.PersistentVolumeAccessMode `json:"accessModes,omitempty"`
}

// S3Storage is a bucket of a store that speaks the S3 protocol.
// +kubebuilder:validation:XValidation:rule="!has(self.regionEndpoint) || self.regionEndpoint.size() == 0 || (isURL(self.regionEndpoint) && url(self.regionEndpoint).getScheme() in ['http', 'https'] && url(self.regionEndpoint).getHostname().size() > 0 && !self.regionEndpoint.contains('?'))",message="regionEndpoint must be a URL with scheme http or https, a host and no query, as http://minio:9000"
type S3Storage struct {
	// bucket is the name of the bucket, which must exist.
	// +kubebuilder:validation:MaxLength=63
	// +optional
	Bucket string `json:"bucket,omitempty"`
	// region is the region; us-east-1 if empty with regionEndpoint.
	// +kubebuilder:validation:MaxLength=63
	// +optional
	Region string `json:"region,omitempty"`
	// regionEndpoint is the URL of the store, without the bucket.
	// +kubebuilder:validation:MaxLength=2048
	// +optional
	RegionEndpoint string `json:"regionEndpoint,omitempty"`
	// encrypt asks the store to encrypt objects.
	// +optional
	Encrypt bool `json:"encrypt,omitempty"`
	// keyID is the KMS key; ignored unless encrypt is set.
	// +kubebuilder:validation:MaxLength=2048
	// +optional
	KeyID string `json:"keyID,omitempty"`
	// chunkSizeMiB is the size of the parts of an upload in MiB, 5 to 5120; 10 if unset.
	// +kubebuilder:validation:Minimum=5
	// +kubebuilder:validation:Maximum=5120
	// +optional
	ChunkSizeMiB int32 `json:"chunkSizeMiB,omitempty"`
	// virtualHostedStyle puts the bucket into the host name of regionEndpoint.
	// +optional
	VirtualHostedStyle bool `json:"virtualHostedStyle,omitempty"`
	// trustedCA names a ConfigMap in the operand namespace with the CA of the
	// store, under ca-bundle.crt, ca.crt, or its only key.
	// +optional
	TrustedCA ConfigMapReference `json:"trustedCA,omitempty"`
	// cloudFront is not supported yet.
	// +optional
	CloudFront *CloudFrontSpec `json:"cloudFront,omitempty"`
	// rootDirectory is the path inside the bucket.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	RootDirectory string `json:"rootDirectory,omitempty"`
}

// CloudFrontSpec is a content delivery network before a bucket.
type CloudFrontSpec struct {
	// baseURL is the URL of the network.
	// +required
	BaseURL string `json:"baseURL"`
	// privateKey is a key of a Secret in the operand namespace.
	// +required
	PrivateKey SecretKeyReference `json:"privateKey"`
	// keypairID identifies the key pair.
	// +required
	KeypairID string `json:"keypairID"`
	// duration is the life of signed URLs.
	// +kubebuilder:default="20m"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=40
	// +kubebuilder:validation:Pattern=`^(0|([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+)$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s')",message="must be a duration that is not negative, as 30s or 1h30m"
	// +optional
	Duration metav1.Duration `json:"duration,omitempty"`
}

// SecretKeyReference names a key of a Secret.
type SecretKeyReference struct {
	// name of the Secret.
	// +required
	Name string `json:"name"`
	// key in the Secret.
	// +required
	Key string `json:"key"`
}

// GCSStorage is a bucket of Google Cloud Storage.
// +kubebuilder:validation:XValidation:rule="!has(self.keyID) || self.keyID.size() == 0",message="keyID is not supported: objects would be stored without this key; make it the default key of the bucket and leave the field out"
type GCSStorage struct {
	// bucket is the name of the bucket, which must exist.
	// +kubebuilder:validation:MaxLength=222
	// +optional
	Bucket string `json:"bucket,omitempty"`
	// region is the region of the bucket, for information.
	// +optional
	Region string `json:"region,omitempty"`
	// projectID is the Google Cloud project of the bucket, for information.
	// +optional
	ProjectID string `json:"projectID,omitempty"`
	// keyID is not supported; make the KMS key the default key of the bucket.
	// +optional
	KeyID string `json:"keyID,omitempty"`
	// rootDirectory is the path inside the bucket.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	RootDirectory string `json:"rootDirectory,omitempty"`
}

// AzureStorage is a container of Azure Blob Storage.
type AzureStorage struct {
	// accountName is the Azure storage account; its key is in Secret image-registry-private-configuration-user.
	// +kubebuilder:validation:MaxLength=24
	// +optional
	AccountName string `json:"accountName,omitempty"`
	// container is the name of the blob container, which must exist.
	// +kubebuilder:validation:MinLength=3
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[0-9a-z]+(-[0-9a-z]+)*$`
	// +optional
	Container string `json:"container,omitempty"`
	// cloudName is the Azure cloud.
	// +optional
	CloudName string `json:"cloudName,omitempty"`
	// rootDirectory is the path inside the container.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	RootDirectory string `json:"rootDirectory,omitempty"`
}

// IBMCOSStorage is a bucket of IBM Cloud Object Storage.
type IBMCOSStorage struct {
	// bucket is the name of the bucket, which must exist.
	// +optional
	Bucket string `json:"bucket,omitempty"`
	// location is the location of the bucket.
	// +optional
	Location string `json:"location,omitempty"`
	// endpoint is the URL of the store.
	// +optional
	Endpoint string `json:"endpoint,omitempty"`
}

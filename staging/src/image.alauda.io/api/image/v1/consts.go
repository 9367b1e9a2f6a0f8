package v1

// Annotations of the group. The comment says on which object the key stands.
const (
	// ManagedByAlaudaAnnotation ("true", on Image): the bytes of the image
	// live in this registry.
	ManagedByAlaudaAnnotation = "alauda.io/image.managed"
	// ImageManagedTimeAnnotation (RFC 3339 UTC, on Image): since when the bytes
	// live in this registry, if the Image is older than that.
	ImageManagedTimeAnnotation = "image.alauda.io/managedTime"
	// ImageManifestBlobStoredAnnotation ("true", on Image): manifest and config
	// are in the blob store, so the API server keeps no raw copy.
	ImageManifestBlobStoredAnnotation = "image.alauda.io/manifestBlobStored"
	// DockerImageLayersOrderAnnotation (on Image): order of dockerImageLayers.
	DockerImageLayersOrderAnnotation = "image.alauda.io/dockerLayersOrder"
	// ImageConfigDigestAnnotation (on Image, never on an index): digest of the
	// config blob.
	ImageConfigDigestAnnotation = "image.alauda.io/configDigest"
	// ImageSubjectAnnotation (on Image): digest of the OCI subject.
	ImageSubjectAnnotation = "image.alauda.io/subject"
	// ImageArtifactTypeAnnotation (on Image): effective OCI artifact type.
	ImageArtifactTypeAnnotation = "image.alauda.io/artifactType"
	// ImageLastReferencedTimeAnnotation (RFC 3339 UTC, on Image): last time a
	// stream or a push took up an Image that existed already.
	ImageLastReferencedTimeAnnotation = "image.alauda.io/lastReferencedTime"
	// KeepAnnotation ("true", on Image, ImageStream or a spec tag): the pruner
	// leaves the object alone.
	KeepAnnotation = "image.alauda.io/keep"
	// ImageStreamCreatedByAnnotation (on ImageStream): user whose push created
	// the stream. Information only.
	ImageStreamCreatedByAnnotation = "image.alauda.io/createdBy"
	// DockerImageRepositoryCheckAnnotation (RFC 3339, on ImageStream): time of
	// the last import. Absent or empty asks for an import.
	DockerImageRepositoryCheckAnnotation = "alauda.io/image.dockerRepositoryCheck"
	// InsecureRepositoryAnnotation ("true", on ImageStream): import and
	// pull-through do without verified TLS.
	InsecureRepositoryAnnotation = "alauda.io/image.insecureRepository"
	// ExcludeImageSecretAnnotation ("true", on Secret): the Secret is left out
	// of imagestreams/secrets.
	ExcludeImageSecretAnnotation = "alauda.io/image.excludeSecret"
	// ImporterPreferArchAnnotation (on a spec tag): preferred architecture when
	// one child of an index is imported.
	ImporterPreferArchAnnotation = "importer.image.alauda.io/prefer-arch"
	// ImporterPreferOSAnnotation (on a spec tag): preferred operating system
	// when one child of an index is imported.
	ImporterPreferOSAnnotation = "importer.image.alauda.io/prefer-os"
	// TriggersAnnotation (JSON list, on workloads): fields that follow an image
	// stream tag.
	TriggersAnnotation = "image.alauda.io/triggers"
	// ResolveNamesAnnotation ("*", on workloads and Pod templates): image names
	// resolve to local image streams.
	ResolveNamesAnnotation = "alpha.image.policy.alauda.io/resolve-names"
	// GCReportAnnotation (on the Lease image-registry-gc): report of the last
	// garbage collection of the blob store.
	GCReportAnnotation = "image.alauda.io/gc-report"
)

// Values of annotations.
const (
	// DockerImageLayersOrderAscending: base layer first.
	DockerImageLayersOrderAscending = "ascending"
	// DockerImageLayersOrderDescending: base layer last.
	DockerImageLayersOrderDescending = "descending"
	// ResolveNamesAll is the only value of ResolveNamesAnnotation with a meaning.
	ResolveNamesAll = "*"
)

// WarningIncompleteList is the text of the warning with which a list is
// answered that lacks objects whose stored records are damaged. Who deletes
// what no list names must stop there.
const WarningIncompleteList = "this list is incomplete: damaged records were left out"

// Names of resources in ResourceQuota and LimitRange objects.
const (
	// ResourceImageStreams counts the streams of a namespace.
	ResourceImageStreams = "alauda.io/imagestreams"
	// ResourceImages counts distinct digests: of a namespace in a
	// ResourceQuota, of one stream in a LimitRange.
	ResourceImages = "alauda.io/images"
	// ResourceImageTags counts distinct tag names of all streams of a
	// namespace in a ResourceQuota, of one stream in a LimitRange.
	ResourceImageTags = "alauda.io/image-tags"
	// ResourceImageStreamObjects is the generic object count of streams that
	// kube-controller-manager maintains.
	ResourceImageStreamObjects = "count/imagestreams.image.alauda.io"
	// LimitTypeImage limits the size of one image (max.storage).
	LimitTypeImage = "alauda.io/Image"
	// LimitTypeImageStream limits images and tags of one stream.
	LimitTypeImageStream = "alauda.io/ImageStream"
)

// Parts of refusal messages by which the other binaries recognise a violated
// limit or quota.
const (
	// LimitExceededText is part of every LimitRange violation.
	LimitExceededText = "exceeds the maximum limit"
	// QuotaExceededText is part of every ResourceQuota violation.
	QuotaExceededText = "exceeded quota:"
	// QuotaUnknownText is part of a refusal while a quota has no status yet.
	QuotaUnknownText = "status unknown for quota:"
)

// Names and values shared by all binaries.
const (
	// DefaultImageTag is the tag of a reference that names none.
	DefaultImageTag = "latest"
	// RegistryNamespace is the default namespace of all workloads.
	RegistryNamespace = "image-registry-system"
	// InternalRegistryHostname is the host and port under which the cluster
	// reaches the registry.
	InternalRegistryHostname = "image-registry.image-registry-system.svc:5000"
	// TokenAudience is the audience of tokens that can only pull images.
	TokenAudience = "image-registry.alauda.io"
	// DockerImageMetadataVersion is the default of
	// Image.dockerImageMetadataVersion.
	DockerImageMetadataVersion = "1.0"
	// ImageLimitRangePluginName names the admission plugin that enforces
	// LimitTypeImage.
	ImageLimitRangePluginName = "image.alauda.io/ImageLimitRange"
	// ImageSignatureTypeAtomicImageV1 is a signature in simple signing format.
	ImageSignatureTypeAtomicImageV1 = "AtomicImageV1"
)

// Kinds that TagReference.from can name.
const (
	// KindDockerImage: from.name is a pull spec.
	KindDockerImage = "DockerImage"
	// KindImageStreamTag: from.name is "<tag>" or "<stream>:<tag>".
	KindImageStreamTag = "ImageStreamTag"
	// KindImageStreamImage: from.name is "<id>" or "<stream>@<id>".
	KindImageStreamImage = "ImageStreamImage"
)

// Resource names of the group, as in access reviews.
const (
	ResourceNameImages              = "images"
	ResourceNameImageSignatures     = "imagesignatures"
	ResourceNameImageStreams        = "imagestreams"
	ResourceNameImageStreamTags     = "imagestreamtags"
	ResourceNameImageTags           = "imagetags"
	ResourceNameImageStreamImages   = "imagestreamimages"
	ResourceNameImageStreamMappings = "imagestreammappings"
	ResourceNameImageStreamImports  = "imagestreamimports"
	SubresourceStatus               = "status"
	SubresourceLayers               = "layers"
	SubresourceSecrets              = "secrets"
)

// Objects of the image API that other binaries meet by name.
const (
	// APIServiceName registers the group version with kube-apiserver.
	APIServiceName = "v1.image.alauda.io"
	// LookupWebhookConfigurationName is the webhook that resolves local names.
	LookupWebhookConfigurationName = "image-lookup.image.alauda.io"
	// ControllersLeaseName is the Lease of the image controllers' leader.
	ControllersLeaseName = "image-api-server-controllers"
	// GCLeaseName is the Lease of the registry's garbage collector.
	GCLeaseName = "image-registry-gc"
)

package storage

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	registryv1 "image.alauda.io/api/imageregistry/v1"
)

// decideGCS plans for a bucket of Google Cloud Storage.
func decideGCS(config *registryv1.Config, facts Facts) (Plan, error) {
	wanted := config.Spec.Storage.GCS.DeepCopy()
	if err := checkBucket("spec.storage.gcs.bucket", wanted.Bucket); err != nil {
		return invalid("%v", err)
	}
	if err := checkRoot("spec.storage.gcs.rootDirectory", wanted.RootDirectory); err != nil {
		return invalid("%v", err)
	}
	wanted.RootDirectory = cleanRoot(wanted.RootDirectory)
	store := &ObjectStore{Place: fmt.Sprintf("bucket %q", wanted.Bucket)}
	var env variables
	env.verbatim("REGISTRY_STORAGE", "gcs")
	env.set("REGISTRY_STORAGE_GCS_BUCKET", wanted.Bucket)
	if key := facts.User[KeyGCSFile]; len(key) > 0 {
		store.Private = map[string][]byte{KeyGCSFile: key}
		env.verbatim(KeyGCSFile, CloudPath+"/"+KeyGCSFile)
	}
	store.Ambient = store.Private == nil
	env.optional("REGISTRY_STORAGE_GCS_ROOTDIRECTORY", wanted.RootDirectory)
	return onObjects(config, Plan{Env: env, Effective: registryv1.StorageSpec{GCS: wanted}, Object: store}), nil
}

// azureRealms are the domains of the clouds of Azure.
var azureRealms = map[string]string{
	"":                       "core.windows.net",
	"AzurePublicCloud":       "core.windows.net",
	"AzureUSGovernmentCloud": "core.usgovcloudapi.net",
	"AzureChinaCloud":        "core.chinacloudapi.cn",
}

const azurePublic = "AzurePublicCloud"

// decideAzure plans for a container of Azure Blob Storage.
func decideAzure(config *registryv1.Config, facts Facts) (Plan, error) {
	wanted := config.Spec.Storage.Azure.DeepCopy()
	realm, known := azureRealms[wanted.CloudName]
	switch {
	case wanted.AccountName == "" || wanted.Container == "":
		return invalid("spec.storage.azure needs accountName and container; the container must exist")
	case !bucketName.MatchString(wanted.AccountName):
		return invalid("spec.storage.azure.accountName is not the name of a storage account")
	case !bucketName.MatchString(wanted.Container):
		return invalid("spec.storage.azure.container is not the name of a container")
	case !known:
		return invalid("spec.storage.azure.cloudName must be AzurePublicCloud, AzureUSGovernmentCloud or AzureChinaCloud")
	}
	if err := checkRoot("spec.storage.azure.rootDirectory", wanted.RootDirectory); err != nil {
		return invalid("%v", err)
	}
	wanted.RootDirectory = cleanRoot(wanted.RootDirectory)
	if wanted.CloudName == "" {
		wanted.CloudName = azurePublic
	}
	const prefix = "REGISTRY_STORAGE_AZURE_"
	store := &ObjectStore{Place: fmt.Sprintf("container %q", wanted.Container)}
	var env variables
	env.verbatim("REGISTRY_STORAGE", "azure")
	env.set(prefix+"ACCOUNTNAME", wanted.AccountName)
	env.set(prefix+"CONTAINER", wanted.Container)
	env.verbatim(prefix+"REALM", realm)
	if key := facts.userKey(KeyAzureAccount); key != "" {
		store.Private = map[string][]byte{KeyAzureAccount: []byte(Scalar(key))}
		env.verbatim(prefix+"CREDENTIALS", "{type: shared_key}")
		env = append(env, corev1.EnvVar{Name: KeyAzureAccount, ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
			LocalObjectReference: corev1.LocalObjectReference{Name: registryv1.SecretPrivateConfig}, Key: KeyAzureAccount,
		}}})
	} else {
		env.verbatim(prefix+"CREDENTIALS", "{type: default_credentials}")
	}
	store.Ambient = store.Private == nil
	env.optional(prefix+"ROOTDIRECTORY", wanted.RootDirectory)
	return onObjects(config, Plan{Env: env, Effective: registryv1.StorageSpec{Azure: wanted}, Object: store}), nil
}

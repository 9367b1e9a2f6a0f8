package explain

import (
	"slices"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// unbounded are the fields below spec that take a text, a number or a list of any size, each with what happens to one
// that is too large. A field that is not here has a bound in the schema.
var unbounded = map[string]string{
	"configs.imageAPI.allowedRegistriesForImport":   "the cluster refuses a ConfigMap above 1 MiB",
	"configs.imageAPI.nodeSelector{}":               "the cluster refuses the Deployment",
	"configs.nodeSelector{}":                        "the cluster refuses the Deployment",
	"configs.ingress.annotations{}":                 "the cluster refuses the Ingress",
	"configs.routes[].annotations{}":                "the cluster refuses the Ingress",
	"configs.ingress.labels{}":                      "the cluster refuses the Ingress",
	"configs.logging":                               "deprecated; every number stands for a level",
	"configs.requests.read.maxInQueue":              "a large number is no limit",
	"configs.requests.read.maxRunning":              "a large number is no limit",
	"configs.requests.write.maxInQueue":             "a large number is no limit",
	"configs.requests.write.maxRunning":             "a large number is no limit",
	"configs.rolloutStrategy":                       "the pattern lists the words",
	"configs.storage.azure.cloudName":               "the operator knows the words",
	"configs.storage.gcs.keyID":                     "refused unless empty",
	"configs.storage.gcs.projectID":                 "not used",
	"configs.storage.gcs.region":                    "not used",
	"configs.storage.ibmcos.bucket":                 "refused by the operator",
	"configs.storage.ibmcos.endpoint":               "refused by the operator",
	"configs.storage.ibmcos.location":               "refused by the operator",
	"configs.storage.s3.cloudFront.baseURL":         "refused by the operator",
	"configs.storage.s3.cloudFront.keypairID":       "refused by the operator",
	"configs.storage.s3.cloudFront.privateKey.key":  "refused by the operator",
	"configs.storage.s3.cloudFront.privateKey.name": "refused by the operator",
	"imagepruners.keepTagRevisions":                 "a large number keeps everything",
	"imagepruners.keepYoungerThan":                  "a large number keeps everything",
	"imagepruners.nodeSelector{}":                   "the cluster refuses the CronJob",
}

// ofKubernetes are fields with a type of Kubernetes: the cluster refuses what it does not take.
var ofKubernetes = []string{"affinity", "tolerations", "topologySpreadConstraints", "resources"}

func TestFieldsOfConfigAndImagePrunerHaveBounds(t *testing.T) {
	seen := map[string]bool{}
	for _, definition := range definitions(t) {
		for _, version := range definition.Spec.Versions {
			findUnbounded(definition.Spec.Names.Plural, version.Schema.OpenAPIV3Schema.Properties["spec"], seen)
		}
	}
	for path := range seen {
		if unbounded[path] == "" {
			t.Errorf("spec field %s takes a value of any size: give it a bound in the schema, or say here what becomes of one that is too large", path)
		}
	}
	for path := range unbounded {
		if !seen[path] {
			t.Errorf("%s has a bound, or is gone: remove it here", path)
		}
	}
}

func findUnbounded(path string, schema apiextensionsv1.JSONSchemaProps, seen map[string]bool) {
	bounded := true
	switch schema.Type {
	case "string":
		bounded = schema.MaxLength != nil || len(schema.Enum) > 0
	case "integer":
		bounded = schema.Minimum != nil && schema.Maximum != nil
	case "array":
		bounded = schema.MaxItems != nil
	}
	if !bounded {
		seen[path] = true
	}
	for name, field := range schema.Properties {
		if !slices.Contains(ofKubernetes, name) {
			findUnbounded(path+"."+name, field, seen)
		}
	}
	if schema.Items != nil && schema.Items.Schema != nil {
		findUnbounded(path+"[]", *schema.Items.Schema, seen)
	}
	if schema.AdditionalProperties != nil && schema.AdditionalProperties.Schema != nil {
		findUnbounded(path+"{}", *schema.AdditionalProperties.Schema, seen)
	}
}

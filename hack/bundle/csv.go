package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
)

// clusterServiceVersion completes base.yaml.
func clusterServiceVersion(in *input) (object, error) {
	csv := clone(in.base)
	metadata, _ := csv["metadata"].(object)
	spec, _ := csv["spec"].(object)
	annotations, _ := metadata["annotations"].(object)
	if metadata == nil || spec == nil || annotations == nil {
		return nil, fmt.Errorf("base.yaml lacks metadata, annotations or spec")
	}
	container, err := operatorContainer(in.deployment)
	if err != nil {
		return nil, err
	}
	metadata["name"] = csvName(in.version)
	annotations["containerImage"] = text(container, "image")
	annotations["createdAt"] = in.createdAt
	annotations["olm.skipRange"] = skipRange(in.version)
	annotations["operatorframework.io/suggested-namespace"] = suggestedNamespace
	if annotations["operatorframework.io/suggested-namespace-template"], err = asJSON(in.namespace); err != nil {
		return nil, err
	}
	if annotations["alm-examples"], err = asJSON(in.examples); err != nil {
		return nil, err
	}
	spec["version"] = in.version
	if in.replaces != "" {
		spec["replaces"] = csvName(in.replaces)
	}
	spec["icon"] = []any{object{"base64data": base64.StdEncoding.EncodeToString(in.icon), "mediatype": "image/svg+xml"}}
	spec["relatedImages"] = relatedImages(container)
	spec["install"] = installStrategy(in)
	return csv, nil
}

// csvName is the name of the ClusterServiceVersion and of the catalog's entry.
func csvName(version string) string { return packageName + ".v" + version }

// skipRange lets a cluster go from any earlier version to this one.
func skipRange(version string) string { return ">=0.0.1 <" + version }

// installStrategy is the Deployment with the rights of its ServiceAccount. The lifecycle manager makes
// ServiceAccount, roles and bindings from it.
func installStrategy(in *input) object {
	var clusterRules, rules []any
	for _, role := range in.roles {
		list, _ := role["rules"].([]any)
		if text(role, "kind") == "ClusterRole" {
			clusterRules = append(clusterRules, list...)
		} else {
			rules = append(rules, list...)
		}
	}
	account := func(rules []any) []any {
		return []any{object{"serviceAccountName": packageName, "rules": rules}}
	}
	return object{"strategy": "deployment", "spec": object{
		"deployments": []any{object{
			"name":  text(in.deployment, "metadata", "name"),
			"label": dig(in.deployment, "metadata", "labels"),
			"spec":  in.deployment["spec"],
		}},
		"clusterPermissions": account(clusterRules),
		"permissions":        account(rules),
	}}
}

func asJSON(value any) (string, error) {
	data, err := json.MarshalIndent(value, "", "  ")
	return string(data), err
}

// bundleLabels are the annotations of the bundle; its image carries them as labels.
func bundleLabels() object {
	const prefix = "operators.operatorframework.io."
	return object{
		prefix + "bundle.mediatype.v1":       "registry+v1",
		prefix + "bundle.manifests.v1":       "manifests/",
		prefix + "bundle.metadata.v1":        "metadata/",
		prefix + "bundle.package.v1":         packageName,
		prefix + "bundle.channels.v1":        channel,
		prefix + "bundle.channel.default.v1": channel,
		prefix + "test.mediatype.v1":         "scorecard+v1",
		prefix + "test.config.v1":            "tests/scorecard/",
	}
}

// scorecard asks for the tests that look at the bundle only; what the operator does is tested here.
func scorecard() object {
	test := func(suite, name string) any {
		return object{
			"entrypoint": []any{"scorecard-test", name},
			"image":      "quay.io/operator-framework/scorecard-test:v1.41.1",
			"labels":     object{"suite": suite, "test": name + "-test"},
			"storage":    object{"spec": object{"mountPath": object{}}},
		}
	}
	return object{
		"apiVersion": "scorecard.operatorframework.io/v1alpha3",
		"kind":       "Configuration",
		"metadata":   object{"name": "config"},
		"stages": []any{object{"parallel": true, "tests": []any{
			test("basic", "basic-check-spec"),
			test("olm", "olm-bundle-validation"),
			test("olm", "olm-crds-have-validation"),
			test("olm", "olm-crds-have-resources"),
			test("olm", "olm-spec-descriptors"),
			test("olm", "olm-status-descriptors"),
		}}},
		"storage": object{"spec": object{"mountPath": object{}}},
	}
}

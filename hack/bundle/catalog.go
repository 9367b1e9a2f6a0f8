package main

import (
	"encoding/base64"
	"fmt"
	"strings"

	sigsyaml "sigs.k8s.io/yaml"
)

// catalogFiles are the package with its channel, and one file for each release.
func catalogFiles(in *input, csv object) (map[string][]byte, error) {
	head, err := documents(catalogPackage(in, csv), catalogChannel(in))
	if err != nil {
		return nil, err
	}
	entry, err := catalogBundle(in, csv)
	if err != nil {
		return nil, err
	}
	current, err := documents(entry)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{"package.yaml": head, "v" + in.version + ".yaml": current}
	for version, data := range in.released {
		if version == in.version {
			return nil, fmt.Errorf("version %s is already released", version)
		}
		files["v"+version+".yaml"] = data
	}
	return files, nil
}

func catalogPackage(in *input, csv object) object {
	return object{
		"schema":         "olm.package",
		"name":           packageName,
		"defaultChannel": channel,
		"description":    text(csv, "spec", "description"),
		"icon":           object{"base64data": base64.StdEncoding.EncodeToString(in.icon), "mediatype": "image/svg+xml"},
	}
}

// catalogChannel lists all releases; each replaces the one before it and may be reached from any.
func catalogChannel(in *input) object {
	var entries []any
	previous := ""
	for _, version := range append(append([]string{}, in.history...), in.version) {
		entry := object{"name": csvName(version), "skipRange": skipRange(version)}
		if previous != "" {
			entry["replaces"] = csvName(previous)
		}
		entries = append(entries, entry)
		previous = version
	}
	return object{"schema": "olm.channel", "package": packageName, "name": channel, "entries": entries}
}

// catalogBundle describes this release without its objects: whoever installs it unpacks the bundle's image.
func catalogBundle(in *input, csv object) (object, error) {
	properties := []any{object{"type": "olm.package", "value": object{"packageName": packageName, "version": in.version}}}
	for _, name := range sortedKeys(in.crds) {
		gvk, err := definedKind(in.crds[name])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		properties = append(properties, object{"type": "olm.gvk", "value": gvk})
	}
	properties = append(properties, object{"type": "olm.csv.metadata", "value": csvMetadata(csv)})
	container, err := operatorContainer(in.deployment)
	if err != nil {
		return nil, err
	}
	images := append(relatedImages(container), object{"name": "", "image": in.bundleImage})
	return object{
		"schema":        "olm.bundle",
		"package":       packageName,
		"name":          csvName(in.version),
		"image":         in.bundleImage,
		"properties":    properties,
		"relatedImages": images,
	}, nil
}

// csvMetadata is what a console shows before anything is installed.
func csvMetadata(csv object) object {
	spec, _ := csv["spec"].(object)
	value := object{
		"annotations":           dig(csv, "metadata", "annotations"),
		"labels":                dig(csv, "metadata", "labels"),
		"crdDescriptions":       spec["customresourcedefinitions"],
		"apiServiceDefinitions": object{},
	}
	for _, field := range []string{"description", "displayName", "installModes", "keywords", "links", "maintainers", "maturity", "minKubeVersion", "provider"} {
		value[field] = spec[field]
	}
	return value
}

// definedKind reads group, version and kind of a definition with one version.
func definedKind(crd []byte) (object, error) {
	var definition struct {
		Spec struct {
			Group string `json:"group"`
			Names struct {
				Kind string `json:"kind"`
			} `json:"names"`
			Versions []struct {
				Name string `json:"name"`
			} `json:"versions"`
		} `json:"spec"`
	}
	if err := sigsyaml.Unmarshal(crd, &definition); err != nil {
		return nil, err
	}
	if len(definition.Spec.Versions) != 1 || strings.TrimSpace(definition.Spec.Group) == "" {
		return nil, fmt.Errorf("the definition has no group or not exactly one version")
	}
	return object{"group": definition.Spec.Group, "kind": definition.Spec.Names.Kind, "version": definition.Spec.Versions[0].Name}, nil
}

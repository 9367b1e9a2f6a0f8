package ingress

import (
	"maps"
	"slices"
	"strings"

	registryv1 "image.alauda.io/api/imageregistry/v1"
)

// Annotations lays maps over each other, later ones over earlier ones. An empty value removes a key. Keys of
// the operator itself are kept from the first map and ignored in all others.
func Annotations(defaults map[string]string, layers ...map[string]string) map[string]string {
	out := maps.Clone(defaults)
	if out == nil {
		out = map[string]string{}
	}
	for _, layer := range layers {
		for key, value := range layer {
			if strings.HasPrefix(key, registryv1.Prefix) {
				continue
			}
			out[key] = value
		}
	}
	maps.DeleteFunc(out, func(_, value string) bool { return value == "" })
	return out
}

// reserved lists the keys of the operator in what users ask for.
func reserved(layers ...map[string]string) []string {
	var out []string
	for _, layer := range layers {
		for key := range layer {
			if strings.HasPrefix(key, registryv1.Prefix) {
				out = append(out, key)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Labels are those of the user, and over them the operator's own.
func Labels(own, asked map[string]string) map[string]string {
	out := map[string]string{}
	maps.Copy(out, asked)
	maps.Copy(out, own)
	return out
}

package server

import (
	"slices"

	"k8s.io/apiserver/pkg/admission/plugin/namespace/lifecycle"
	genericoptions "k8s.io/apiserver/pkg/server/options"

	"image.alauda.io/registry/pkg/imageapiserver/admission/limitrange"
)

// newAdmissionOptions is the library's chain with the limit of images behind the check of the namespace:
// a refusal then costs no call of a webhook.
func newAdmissionOptions() *genericoptions.AdmissionOptions {
	options := genericoptions.NewAdmissionOptions()
	limitrange.Register(options.Plugins)
	after := slices.Index(options.RecommendedPluginOrder, lifecycle.PluginName) + 1
	options.RecommendedPluginOrder = slices.Insert(slices.Clone(options.RecommendedPluginOrder), after, limitrange.PluginName)
	return options
}

package roots

import "slices"

// preset is a group whose kinds are known to use images, although their schemas do not always say so.
type preset struct {
	group     string
	resources []string
}

// presets are used where the API server serves them. The role of the CronJob grants exactly these.
var presets = []preset{
	{"argoproj.io", []string{"rollouts", "workflows", "workflowtemplates", "clusterworkflowtemplates", "cronworkflows"}},
	{"serving.knative.dev", []string{"services", "configurations", "revisions"}},
	{"tekton.dev", []string{"tasks", "clustertasks", "taskruns", "pipelines", "pipelineruns"}},
	{"apps.kruise.io", []string{"clonesets", "statefulsets", "daemonsets", "sidecarsets", "broadcastjobs", "imagepulljobs"}},
	{"kubevirt.io", []string{"virtualmachines", "virtualmachineinstances"}},
	{"cdi.kubevirt.io", []string{"datavolumes", "dataimportcrons"}},
	{"operators.coreos.com", []string{"clusterserviceversions", "catalogsources"}},
	{"serving.kserve.io", []string{"inferenceservices", "servingruntimes", "clusterservingruntimes"}},
}

// Presets lists the known kinds by group.
func Presets() map[string][]string {
	all := make(map[string][]string, len(presets))
	for _, p := range presets {
		all[p.group] = slices.Clone(p.resources)
	}
	return all
}

func isPreset(group, resource string) bool {
	return slices.ContainsFunc(presets, func(p preset) bool {
		return p.group == group && slices.Contains(p.resources, resource)
	})
}

func isPresetGroup(group string) bool {
	return slices.ContainsFunc(presets, func(p preset) bool { return p.group == group })
}

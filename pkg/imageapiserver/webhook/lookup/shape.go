package lookup

import (
	"encoding/json"
	"fmt"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	imagev1 "image.alauda.io/api/image/v1"
)

// shape is where an object has its Pod.
type shape int

const (
	isPod shape = iota
	hasTemplate
	hasJobTemplate
)

// shapes are the resources whose images are resolved.
var shapes = map[metav1.GroupResource]shape{
	{Resource: "pods"}:                        isPod,
	{Resource: "replicationcontrollers"}:      hasTemplate,
	{Group: "apps", Resource: "deployments"}:  hasTemplate,
	{Group: "apps", Resource: "daemonsets"}:   hasTemplate,
	{Group: "apps", Resource: "statefulsets"}: hasTemplate,
	{Group: "apps", Resource: "replicasets"}:  hasTemplate,
	{Group: "batch", Resource: "jobs"}:        hasTemplate,
	{Group: "batch", Resource: "cronjobs"}:    hasJobTemplate,
}

// podSpecPointers are JSON pointers to the Pod spec.
var podSpecPointers = map[shape]string{
	isPod:          "/spec",
	hasTemplate:    "/spec/template/spec",
	hasJobTemplate: "/spec/jobTemplate/spec/template/spec",
}

// objectMeta is what is read of an object's metadata.
type objectMeta struct {
	Annotations struct {
		// ResolveNames is imagev1.ResolveNamesAnnotation. The others are not kept: they may be many.
		ResolveNames string `json:"alpha.image.policy.alauda.io/resolve-names"`
	} `json:"annotations"`
	OwnerReferences []struct {
		Controller *bool `json:"controller"`
	} `json:"ownerReferences"`
}

// pod is a Pod or a Pod template.
type pod struct {
	Metadata objectMeta `json:"metadata"`
	Spec     struct {
		InitContainers      containerList `json:"initContainers"`
		Containers          containerList `json:"containers"`
		EphemeralContainers containerList `json:"ephemeralContainers"`
	} `json:"spec"`
}

type container struct {
	Name  string `json:"name"`
	Image string `json:"image"`
}

// object is what is read of a Pod or a workload.
type object struct {
	shape shape
	// own is the metadata of the object itself, all includes that of its templates.
	own objectMeta
	all []objectMeta
	pod pod
}

// parse reads an object of a known shape.
func parse(shape shape, raw []byte) (object, error) {
	type withTemplate struct {
		Metadata objectMeta `json:"metadata"`
		Spec     struct {
			Template pod `json:"template"`
		} `json:"spec"`
	}
	var err error
	result := object{shape: shape}
	switch shape {
	case isPod:
		err = json.Unmarshal(raw, &result.pod)
		result.own = result.pod.Metadata
		result.all = []objectMeta{result.own}
	case hasTemplate:
		var workload withTemplate
		err = json.Unmarshal(raw, &workload)
		result.own, result.pod = workload.Metadata, workload.Spec.Template
		result.all = []objectMeta{result.own, result.pod.Metadata}
	case hasJobTemplate:
		var workload struct {
			Metadata objectMeta `json:"metadata"`
			Spec     struct {
				JobTemplate withTemplate `json:"jobTemplate"`
			} `json:"spec"`
		}
		err = json.Unmarshal(raw, &workload)
		job := workload.Spec.JobTemplate
		result.own, result.pod = workload.Metadata, job.Spec.Template
		result.all = []objectMeta{result.own, job.Metadata, result.pod.Metadata}
	}
	if err != nil {
		return object{}, fmt.Errorf("the object cannot be read: %w", err)
	}
	return result, nil
}

// controlled tells whether another object made this one, whose own images were resolved already.
func (o object) controlled() bool {
	for _, owner := range o.own.OwnerReferences {
		if owner.Controller != nil && *owner.Controller {
			return true
		}
	}
	return false
}

// resolvesAll tells whether the object asks to try every image name.
func (o object) resolvesAll() bool {
	for _, meta := range o.all {
		if meta.Annotations.ResolveNames == imagev1.ResolveNamesAll {
			return true
		}
	}
	return false
}

// image is an image in an object.
type image struct {
	// list and container identify it in another version of the object.
	list, container string
	// name is what the container runs.
	name string
	// pointer is where that stands.
	pointer string
}

// changeable leaves in a Pod that is updated what such a request can change: through the subresource for
// ephemeral containers nothing but new ones, otherwise everything else.
func (o object) changeable(ephemeral bool, old object) object {
	if !ephemeral {
		o.pod.Spec.EphemeralContainers = nil
		return o
	}
	there := map[string]bool{}
	for _, c := range old.pod.Spec.EphemeralContainers {
		there[c.Name] = true
	}
	o.pod.Spec.InitContainers, o.pod.Spec.Containers = nil, nil
	for i, c := range o.pod.Spec.EphemeralContainers {
		if there[c.Name] {
			o.pod.Spec.EphemeralContainers[i].Image = ""
		}
	}
	return o
}

// images returns every image of the object.
func (o object) images() []image {
	var all []image
	add := func(list string, containers []container) {
		for i, c := range containers {
			all = append(all, image{
				list: list, container: c.Name, name: c.Image,
				pointer: podSpecPointers[o.shape] + "/" + list + "/" + strconv.Itoa(i) + "/image",
			})
		}
	}
	add("initContainers", o.pod.Spec.InitContainers)
	add("containers", o.pod.Spec.Containers)
	add("ephemeralContainers", o.pod.Spec.EphemeralContainers)
	return all
}

// changed returns the images of the object that the older version does not have in the same place.
func (o object) changed(old object) []image {
	type place struct{ list, container string }
	before := map[place]string{}
	for _, img := range old.images() {
		before[place{img.list, img.container}] = img.name
	}
	var changed []image
	for _, img := range o.images() {
		if name, found := before[place{img.list, img.container}]; !found || name != img.name {
			changed = append(changed, img)
		}
	}
	return changed
}

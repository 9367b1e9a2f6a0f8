package tags

import (
	"fmt"
	"strconv"
	"strings"
)

const (
	podSpecOfTemplate    = "spec.template.spec"
	podSpecOfJobTemplate = "spec.jobTemplate.spec.template.spec"
	// maxIndex is far above what an object can hold.
	maxIndex = 9999
	// maxContainerName is the longest name of a container.
	maxContainerName = 63
)

// FieldPath is the image of one container in a workload.
type FieldPath struct {
	// PodSpec is where the workload has its Pod.
	PodSpec string
	// Init selects from the init containers.
	Init bool
	// Name of the container. Empty selects by Index.
	Name string
	// Index of the container in its list.
	Index int
}

// PodSpecPath is where workloads of a kind have their Pod, or false for kinds
// that cannot follow tags.
func PodSpecPath(kind string) (string, bool) {
	switch kind {
	case "Deployment", "DaemonSet", "StatefulSet":
		return podSpecOfTemplate, true
	case "CronJob":
		return podSpecOfJobTemplate, true
	}
	return "", false
}

// ParseFieldPath reads a field path of the form
//
//	<Pod spec>.containers[<index>].image
//	<Pod spec>.initContainers[?(@.name=="<name>")].image
//
// where the Pod spec is spec.template.spec, or
// spec.jobTemplate.spec.template.spec for a CronJob. There is exactly one text
// for each path.
func ParseFieldPath(text string) (FieldPath, error) {
	var path FieldPath
	rest := text
	switch {
	case strings.HasPrefix(rest, podSpecOfTemplate+"."):
		path.PodSpec = podSpecOfTemplate
	case strings.HasPrefix(rest, podSpecOfJobTemplate+"."):
		path.PodSpec = podSpecOfJobTemplate
	default:
		return FieldPath{}, fmt.Errorf("field %q is not below the Pod spec of a workload", text)
	}
	rest = rest[len(path.PodSpec)+1:]
	list, rest, bracket := strings.Cut(rest, "[")
	selector, found := strings.CutSuffix(rest, "].image")
	if !bracket || !found {
		return FieldPath{}, fmt.Errorf("field %q is not the image of a container", text)
	}
	switch list {
	case "containers":
	case "initContainers":
		path.Init = true
	default:
		return FieldPath{}, fmt.Errorf("field %q selects from neither containers nor initContainers", text)
	}
	var err error
	if path.Name, path.Index, err = parseSelector(selector); err != nil {
		return FieldPath{}, fmt.Errorf("field %q: %w", text, err)
	}
	return path, nil
}

func parseSelector(text string) (name string, index int, err error) {
	if condition, found := strings.CutPrefix(text, `?(@.name=="`); found {
		name, closed := strings.CutSuffix(condition, `")`)
		if !closed || !isContainerName(name) {
			return "", 0, fmt.Errorf("%q does not select a container by name", text)
		}
		return name, 0, nil
	}
	index, err = strconv.Atoi(text)
	if err != nil || index < 0 || index > maxIndex || strconv.Itoa(index) != text {
		return "", 0, fmt.Errorf("%q is neither an index nor ?(@.name==\"…\")", text)
	}
	return "", index, nil
}

// isContainerName tells whether a text is a DNS label.
func isContainerName(text string) bool {
	if text == "" || len(text) > maxContainerName || text[0] == '-' || text[len(text)-1] == '-' {
		return false
	}
	for _, c := range []byte(text) {
		if c != '-' && (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// String is the text that ParseFieldPath reads.
func (p FieldPath) String() string {
	selector := strconv.Itoa(p.Index)
	if p.Name != "" {
		selector = `?(@.name=="` + p.Name + `")`
	}
	return p.PodSpec + "." + p.list() + "[" + selector + "].image"
}

func (p FieldPath) list() string {
	if p.Init {
		return "initContainers"
	}
	return "containers"
}

func (p FieldPath) selects(index int, name string) bool {
	if p.Name != "" {
		return p.Name == name
	}
	return p.Index == index
}

// pointer is the JSON pointer to the container at an index.
func (p FieldPath) pointer(index int) string {
	return "/" + strings.ReplaceAll(p.PodSpec, ".", "/") + "/" + p.list() + "/" + strconv.Itoa(index)
}

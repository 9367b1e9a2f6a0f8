package roots

import (
	"maps"
	"slices"
	"strings"

	"image.alauda.io/registry/pkg/pruner/references"
)

// verdict is what the schema of a kind says about images.
type verdict struct {
	// images is where images are named, or may be for all that is declared; empty if nowhere.
	images string
	// free is a field of free form in which they could be named, too.
	free string
}

// search looks through the schema of one kind.
type search struct {
	*document
	seen  map[*node]bool
	steps int
	found verdict
}

// examine tells where objects of a schema name images.
func (d *document) examine(root *node) verdict {
	s := &search{document: d, seen: map[*node]bool{}}
	forms := d.forms(root)
	if free(forms) {
		spec := d.property(forms, "spec")
		if spec == nil || free(spec) {
			return verdict{images: "everything: the schema declares nothing"}
		}
		s.found.free = "everything"
	}
	s.walk(forms, "")
	return s.found
}

// property returns the forms of a property, nil if it is not declared.
func (d *document) property(forms []*node, name string) []*node {
	for _, form := range forms {
		if property := form.Properties[name]; property != nil {
			return d.forms(property)
		}
	}
	return nil
}

// walk goes through the properties, and ends with the first place that names images.
func (s *search) walk(forms []*node, path string) {
	for _, form := range forms {
		if s.found.images != "" || s.seen[form] {
			continue
		}
		s.seen[form] = true
		for _, name := range slices.Sorted(maps.Keys(form.Properties)) {
			if path == "" && name == "metadata" {
				continue
			}
			s.visit(form.Properties[name], name, path+"."+name)
		}
		for _, element := range elements([]*node{form}) {
			s.visit(element, path[strings.LastIndex(path, ".")+1:], path+"[]")
		}
	}
}

// visit looks at what stands under a name.
func (s *search) visit(n *node, name, path string) {
	if s.found.images != "" {
		return
	}
	if s.steps++; s.steps > maxSteps {
		s.found.images = "too large a schema to be searched"
		return
	}
	forms := s.forms(n)
	var items []*node
	for _, element := range elements(forms) {
		items = append(items, s.forms(element)...)
	}
	switch {
	case namesContainers(name) && len(items) > 0 && (s.hasImage(items) || free(items)),
		s.isContainer(forms), s.isContainer(items):
		s.found.images = path
		return
	case embedded(forms), embedded(items), free(forms) && (namesTemplate(name) || path == ".spec"):
		s.found.images = path + ", which is of free form"
		return
	case !ofStatus(path) && s.isImage(name, forms, items):
		s.found.images = path
		return
	case free(forms) && s.found.free == "" && !ofStatus(path):
		s.found.free = path
	}
	s.walk(forms, path)
}

// ofStatus: what a controller writes is used by objects that it made.
func ofStatus(path string) bool { return path == ".status" || strings.HasPrefix(path, ".status.") }

// isImage: a text, or a list or map of texts, whose name says that it is an image, or an image in parts. What
// such a field means is known to nobody here, such as the image of a virtual machine of some cloud; then a list is
// read in vain.
func (s *search) isImage(name string, forms, items []*node) bool {
	if references.NamesImages(name) && isText(items) {
		return true
	}
	if !references.NamesImage(name) {
		return false
	}
	repository := s.property(forms, "repository")
	return isText(forms) || isText(items) || repository != nil && isText(repository)
}

// isText: a string can stand there.
func isText(forms []*node) bool {
	return slices.ContainsFunc(forms, func(n *node) bool { return n.Type == "string" })
}

// free: fields that are not declared are stored, too.
func free(forms []*node) bool {
	return slices.ContainsFunc(forms, func(n *node) bool { return bool(n.Preserve) })
}

// embedded: a whole object of any kind can stand there.
func embedded(forms []*node) bool {
	return slices.ContainsFunc(forms, func(n *node) bool { return bool(n.Embedded) })
}

func (s *search) hasImage(forms []*node) bool {
	image := s.property(forms, "image")
	return image != nil && (free(image) || isText(image))
}

// ofContainers are fields beside image that only something to be run has.
var ofContainers = []string{"command", "args", "env", "envFrom", "imagePullPolicy", "volumeMounts"}

// isContainer: an image with two fields of containers, under whatever name.
func (s *search) isContainer(forms []*node) bool {
	if !s.hasImage(forms) {
		return false
	}
	count := 0
	for _, name := range ofContainers {
		if s.property(forms, name) != nil {
			count++
		}
	}
	return count >= 2
}

// namesContainers: containers, initContainers, ephemeralContainers, and what projects call alike.
func namesContainers(name string) bool {
	name = strings.ToLower(name)
	return strings.HasSuffix(name, "containers") || strings.HasSuffix(name, "sidecars") || strings.HasSuffix(name, "steps")
}

// namesTemplate: what is of free form under such a name is a Pod or a workload, whose schema was thought
// too long to be copied.
func namesTemplate(name string) bool {
	switch strings.ToLower(name) {
	case "template", "templates", "podtemplate", "podtemplatespec", "podspec", "pod", "jobtemplate", "jobspec",
		"deployment", "statefulset", "workload", "workloads", "container", "manifest", "manifests":
		return true
	}
	return false
}

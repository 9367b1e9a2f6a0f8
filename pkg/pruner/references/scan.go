package references

import (
	"strconv"
	"strings"

	imagev1 "image.alauda.io/api/image/v1"
)

// Custom is an object of a kind whose fields are not known here.
type Custom struct {
	// Kind as it is to be reported.
	Kind string
	// Object is the decoded JSON.
	Object map[string]any
	// Paths are the fields that hold images; empty means that every string is looked at.
	Paths []*Path
}

// NameRegistry tells under which names this registry is known, for references in the middle of a text. It
// comes before the first object is added.
func (x *Index) NameRegistry(names *Hosts) { x.names = names }

// AddCustom records the references of an object. Strings that are none are no mistake: nobody knows what
// they are meant to be.
func (x *Index) AddCustom(c Custom) {
	meta, _ := c.Object["metadata"].(map[string]any)
	namespace, _ := meta["namespace"].(string)
	name, _ := meta["name"].(string)
	s := scan{x: x, base: value{source: Source{c.Kind, namespace, name}, lenient: true, scanned: true}}
	if text, _ := annotationsOf(c.Object)[imagev1.TriggersAnnotation].(string); text != "" {
		x.addTriggersOf(s.base, text)
	}
	for _, path := range c.Paths {
		found, err := path.find(c.Object)
		if err != nil {
			s.walk(c.Object, "", nil)
			return
		}
		for _, selected := range found {
			at := &place{name: strings.Trim(path.String(), "{}.")}
			if text, isText := selected.(string); isText {
				s.reference(text, at)
				continue
			}
			s.selected(selected, at)
		}
	}
	if len(c.Paths) == 0 {
		s.walk(c.Object, "", nil)
	}
}

// selected looks at what a path leads to that is no string: every string directly in it names an image.
func (s scan) selected(node any, at *place) {
	switch node := node.(type) {
	case map[string]any:
		for name, child := range node {
			if text, isText := child.(string); isText && len(text) <= maxImage {
				s.reference(text, &place{up: at, name: name})
			}
		}
		s.walk(node, "", at)
	default:
		s.walk(node, "image", at)
	}
}

// scan goes through one object.
type scan struct {
	x    *Index
	base value
}

// place is a field on the way to a string; it becomes text only where a reference is found.
type place struct {
	up    *place
	name  string
	index int
}

// String returns the path as a.b[0].c.
func (p *place) String() string {
	switch {
	case p == nil:
		return ""
	case p.name == "":
		return p.up.String() + "[" + strconv.Itoa(p.index) + "]"
	case p.up == nil:
		return p.name
	}
	return p.up.String() + "." + p.name
}

// walk looks at every string below node. key is the name of the field that node stands in.
func (s scan) walk(node any, key string, at *place) {
	switch node := node.(type) {
	case map[string]any:
		if resolves, _ := annotationsOf(node)[imagev1.ResolveNamesAnnotation].(string); resolves == imagev1.ResolveNamesAll {
			s.base.lookup = true
		}
		s.pairs(node, at)
		for name, child := range node {
			if name == "managedFields" && at != nil && at.name == "metadata" && at.up == nil {
				continue
			}
			next := name
			if name == "reference" || namesImages(key) {
				next = key // volumes[].image.reference, and images by their names
			}
			s.walk(child, next, &place{up: at, name: name})
		}
	case []any:
		for i, child := range node {
			s.walk(child, key, &place{up: at, index: i})
		}
	case string:
		s.text(node, key, at)
	}
}

// text looks at one string.
func (s scan) text(text, key string, at *place) {
	switch {
	case (namesImage(key) || namesImages(key)) && len(text) <= maxImage:
		s.reference(text, at)
	case isWhole(text):
		s.add(text, at)
	}
	s.inside(text, at)
}

// reference adds a string that stands where an image is to be named.
func (s scan) reference(text string, at *place) { s.add(text, at) }

func (s scan) add(text string, at *place) {
	v := s.base
	v.text, v.path = text, at.String()
	s.x.add(v)
}

// imageNames end the names of fields that hold one image as a text.
var imageNames = []string{"image", "imageid", "image_id", "imagename", "image_name", "imageref", "imagereference", "imageurl", "imageuri", "imagespec"}

// NamesImage tells by the name of a field that its text is an image: image, containerImage, image_id, imageName
// and so on.
func NamesImage(field string) bool { return namesImage(field) }

func namesImage(key string) bool { return hasSuffix(strings.ToLower(key), imageNames...) }

// NamesImages tells by the name of a field that the texts in it are images.
func NamesImages(field string) bool { return namesImages(field) }

func namesImages(key string) bool { return hasSuffix(strings.ToLower(key), "images") }

// isWhole: the string may be a reference as a whole, with a registry and two components, or with a digest.
func isWhole(text string) bool {
	if len(text) > maxImage || strings.ContainsAny(text, " \n\t\"'<>,;") {
		return false
	}
	for _, transport := range transports {
		text = strings.TrimPrefix(text, transport)
	}
	if strings.HasPrefix(text, "sha256:") || strings.HasPrefix(text, "sha512:") || strings.HasPrefix(text, "sha384:") {
		return true
	}
	domain, rest, _ := strings.Cut(text, "/")
	if strings.Contains(rest, "@sha") {
		return true
	}
	return strings.Count(rest, "/") == 1 && (strings.ContainsAny(domain, ".:") || domain == "localhost")
}

// inside looks for references in the middle of a text: they begin with a name of this registry.
func (s scan) inside(text string, at *place) {
	if s.x.names == nil {
		return
	}
	for slash := strings.IndexByte(text, '/'); slash >= 0; {
		after := slash + 1
		for _, begin := range hostBegins(text, slash) {
			if s.x.names.Has(text[begin:slash]) {
				after = begin + s.mentioned(text[begin:], slash-begin, at)
				break
			}
		}
		next := strings.IndexByte(text[after:], '/')
		if next < 0 {
			return
		}
		slash = after + next
	}
}

// hostBegins returns where a host that ends before the slash may begin.
func hostBegins(text string, slash int) []int {
	var begins []int
	begin := slash
	for begin > 0 && slash-begin < 256 && isHostByte(text[begin-1]) {
		begin--
		if text[begin] == ':' {
			begins = append(begins, begin+1)
		}
	}
	return append(begins, begin)
}

func isHostByte(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || strings.IndexByte("-.:[]", b) >= 0
}

// mentioned records a text that begins with a name of this registry, of the given length, and returns how
// much of it was understood. What cannot be understood completely protects the stream that it names.
func (s scan) mentioned(text string, host int, at *place) int {
	end := host
	for end < len(text) && end < maxImage && (isHostByte(text[end]) || strings.IndexByte("/_@+${}()", text[end]) >= 0) {
		end++
	}
	word := strings.TrimRight(text[:end], "/.:@-_+[](){}$")
	unclear := len(word) < end && strings.ContainsAny(text[len(word):end], "${(:@") || isPlaceholder(text[:end])
	if !unclear {
		ref, err := Parse(word)
		unclear = err != nil || ref.Kind != Tag && ref.Kind != Digest
	}
	if unclear {
		v := s.base
		v.text, v.path = text[:end], at.String()
		s.x.protectMentioned(v)
	} else {
		s.add(strings.Clone(word), at) // the text may be long
	}
	return end
}

func annotationsOf(object map[string]any) map[string]any {
	meta, _ := object["metadata"].(map[string]any)
	annotations, _ := meta["annotations"].(map[string]any)
	return annotations
}

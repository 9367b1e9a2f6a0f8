package tags

import (
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"image.alauda.io/api/image/reference"
	imagev1 "image.alauda.io/api/image/v1"
)

// MaxTriggers is how many entries the annotation may have, more than a workload
// has containers.
const MaxTriggers = 100

// Trigger is one entry of the annotation imagev1.TriggersAnnotation: a field of
// a workload that follows an image stream tag.
type Trigger struct {
	// From is the tag that the field follows.
	From TriggerSource `json:"from"`
	// FieldPath is the field; ParseFieldPath describes its grammar.
	FieldPath string `json:"fieldPath"`
	// Paused keeps the field as it is.
	Paused Paused `json:"paused,omitempty"`
}

// TriggerSource names what a trigger follows.
type TriggerSource struct {
	// Kind is ImageStreamTag. Triggers of other kinds belong to somebody else.
	Kind string `json:"kind"`
	// APIVersion is empty. A trigger that sets it belongs to somebody else.
	APIVersion string `json:"apiVersion,omitempty"`
	// Name is "<stream>:<tag>".
	Name string `json:"name"`
	// Namespace of the stream; empty means that of the workload.
	Namespace string `json:"namespace,omitempty"`
}

// Paused is true for the JSON values true and "true", which older clients
// write, and false for other strings.
type Paused bool

// UnmarshalJSON implements json.Unmarshaler.
func (p *Paused) UnmarshalJSON(data []byte) error {
	var value any
	if err := json.Unmarshal(data, &value); err != nil {
		return err
	}
	switch typed := value.(type) {
	case nil:
		*p = false
	case bool:
		*p = Paused(typed)
	case string:
		*p = typed == "true"
	default:
		return fmt.Errorf("paused is neither true nor false")
	}
	return nil
}

// StreamTag is a tag of a stream in a namespace.
type StreamTag struct {
	Namespace, Stream, Tag string
}

// String is "<namespace>/<stream>:<tag>".
func (s StreamTag) String() string {
	return s.Namespace + "/" + reference.JoinStreamTag(s.Stream, s.Tag)
}

// ParseTriggers reads the value of the annotation. An annotation that names a
// field twice is refused as a whole: nobody could tell which tag wins.
func ParseTriggers(annotation string) ([]Trigger, error) {
	if annotation == "" {
		return nil, nil
	}
	var triggers []Trigger
	if err := json.Unmarshal([]byte(annotation), &triggers); err != nil {
		return nil, fmt.Errorf("annotation %s is no list of triggers: %w", imagev1.TriggersAnnotation, err)
	}
	if len(triggers) > MaxTriggers {
		return nil, fmt.Errorf("annotation %s has %d triggers, at most %d are carried out", imagev1.TriggersAnnotation, len(triggers), MaxTriggers)
	}
	seen := make(map[string]bool, len(triggers))
	for _, trigger := range triggers {
		if seen[trigger.FieldPath] {
			return nil, fmt.Errorf("annotation %s names field %q twice", imagev1.TriggersAnnotation, trigger.FieldPath)
		}
		seen[trigger.FieldPath] = true
	}
	return triggers, nil
}

// Follows returns the tag that the trigger of a workload in the given namespace
// follows. It is false for a trigger that is paused or not meant for image
// streams; an error says that the name cannot be that of a tag.
func (t Trigger) Follows(namespace string) (StreamTag, bool, error) {
	if t.From.Kind != imagev1.KindImageStreamTag || t.From.APIVersion != "" || bool(t.Paused) {
		return StreamTag{}, false, nil
	}
	stream, tag, err := reference.SplitStreamTag(t.From.Name)
	if err != nil {
		return StreamTag{}, false, fmt.Errorf("trigger of field %q: from.name: %w", t.FieldPath, err)
	}
	if t.From.Namespace != "" {
		namespace = t.From.Namespace
	}
	if err := reference.ValidateStreamName(namespace, stream); err != nil {
		return StreamTag{}, false, fmt.Errorf("trigger of field %q: from.name: %w", t.FieldPath, err)
	}
	return StreamTag{Namespace: namespace, Stream: stream, Tag: tag}, true, nil
}

// Field is the image of one container and the tag that it is to follow.
type Field struct {
	// From is the tag.
	From StreamTag
	// Path is where the container is in the workload.
	Path FieldPath
	// Index is the position of the container in its list.
	Index int
	// Container is its name, Image what it runs now.
	Container, Image string
}

// Pointer is the JSON pointer to the container.
func (f Field) Pointer() string { return f.Path.pointer(f.Index) }

// PlanTriggers finds the containers of a workload that follow a tag. Triggers
// that cannot be carried out come back as problems, and the others stand, unless
// two of them mean the same container: then none does.
func PlanTriggers(kind, namespace string, spec *corev1.PodSpec, triggers []Trigger) ([]Field, []error) {
	var fields []Field
	var problems []error
	seen := map[string]string{}
	for _, trigger := range triggers {
		from, follows, err := trigger.Follows(namespace)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		if !follows {
			continue
		}
		field, err := locate(kind, spec, trigger.FieldPath)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		field.From = from
		if other, twice := seen[field.Pointer()]; twice {
			return nil, []error{fmt.Errorf("fields %q and %q are the same container", other, trigger.FieldPath)}
		}
		seen[field.Pointer()] = trigger.FieldPath
		fields = append(fields, field)
	}
	return fields, problems
}

func locate(kind string, spec *corev1.PodSpec, text string) (Field, error) {
	path, err := ParseFieldPath(text)
	if err != nil {
		return Field{}, err
	}
	if want, known := PodSpecPath(kind); !known || path.PodSpec != want {
		return Field{}, fmt.Errorf("field %q: the Pod of a %s is at %q", text, kind, want)
	}
	containers := spec.Containers
	if path.Init {
		containers = spec.InitContainers
	}
	for i := range containers {
		if path.selects(i, containers[i].Name) {
			return Field{Path: path, Index: i, Container: containers[i].Name, Image: containers[i].Image}, nil
		}
	}
	return Field{}, fmt.Errorf("field %q: there is no such container", text)
}

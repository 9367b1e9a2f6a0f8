package transfer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// object is a stored object of which only the metadata is understood. Its JSON is passed on as it is.
type object struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`

	json []byte
	// key and damage are set for a value that could not be read.
	key    string
	damage error
}

// DeepCopyObject implements runtime.Object.
func (o *object) DeepCopyObject() runtime.Object {
	result := *o
	o.ObjectMeta.DeepCopyInto(&result.ObjectMeta)
	result.json = bytes.Clone(o.json)
	return &result
}

// objectList is what lists are read into.
type objectList struct {
	metav1.TypeMeta
	metav1.ListMeta
	Items []object
}

// DeepCopyObject implements runtime.Object.
func (l *objectList) DeepCopyObject() runtime.Object {
	result := *l
	l.ListMeta.DeepCopyInto(&result.ListMeta)
	result.Items = make([]object, len(l.Items))
	for i := range l.Items {
		item, _ := l.Items[i].DeepCopyObject().(*object)
		result.Items[i] = *item
	}
	return &result
}

// parse reads the metadata of an object's JSON.
func parse(data []byte) (*object, error) {
	o := &object{}
	if err := json.Unmarshal(data, o); err != nil {
		return nil, err
	}
	if o.Name == "" || o.Kind == "" {
		return nil, fmt.Errorf("it has the kind %q and the name %q", o.Kind, o.Name)
	}
	if o.ResourceVersion != "" {
		return nil, fmt.Errorf("it has a resourceVersion")
	}
	o.json = data
	return o, nil
}

// verbatim is the codec under which a storage keeps JSON as it is.
type verbatim struct{}

// Encode implements runtime.Encoder.
func (verbatim) Encode(obj runtime.Object, w io.Writer) error {
	o, ok := obj.(*object)
	if !ok {
		return fmt.Errorf("%T is no stored object", obj)
	}
	_, err := w.Write(o.json)
	return err
}

// Identifier implements runtime.Encoder.
func (verbatim) Identifier() runtime.Identifier { return "verbatim" }

// Decode implements runtime.Decoder. It reads damage that reportDamage has written down.
func (verbatim) Decode(data []byte, _ *schema.GroupVersionKind, into runtime.Object) (runtime.Object, *schema.GroupVersionKind, error) {
	o, ok := into.(*object)
	if !ok {
		return nil, nil, fmt.Errorf("%T is no stored object", into)
	}
	if key, damage, found := damageIn(data); found {
		*o = object{key: key, damage: damage}
		return o, &schema.GroupVersionKind{}, nil
	}
	parsed, err := parse(bytes.Clone(data))
	if err != nil {
		return nil, nil, err
	}
	*o = *parsed
	kind := o.GroupVersionKind()
	return o, &kind, nil
}

package lookup

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// maxContainers of one list is far above what a node can run. In a body of a few megabytes there is room for
// millions of empty containers, each of which takes many times its text once it is decoded.
const maxContainers = 2000

var errTooManyContainers = fmt.Errorf("more than %d containers in one list", maxContainers)

// admissionReview is what is read of an AdmissionReview. Whatever else a sender puts into it takes no memory.
type admissionReview struct {
	metav1.TypeMeta `json:",inline"`
	Request         *question `json:"request"`
}

// question is what is read of the request in a review.
type question struct {
	UID         types.UID                   `json:"uid"`
	Resource    metav1.GroupVersionResource `json:"resource"`
	SubResource string                      `json:"subResource"`
	Namespace   string                      `json:"namespace"`
	Operation   admissionv1.Operation       `json:"operation"`
	Object      json.RawMessage             `json:"object"`
	OldObject   json.RawMessage             `json:"oldObject"`
}

// containerList is a list of containers, of at most maxContainers.
type containerList []container

// UnmarshalJSON implements json.Unmarshaler. It ends at the first container too many.
func (l *containerList) UnmarshalJSON(data []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	first, err := decoder.Token()
	if err != nil || first == nil {
		return err
	}
	if first != json.Delim('[') {
		return errors.New("the containers are no list")
	}
	var all containerList
	for decoder.More() {
		if len(all) == maxContainers {
			return errTooManyContainers
		}
		var one container
		if err := decoder.Decode(&one); err != nil {
			return err
		}
		all = append(all, one)
	}
	*l = all
	return nil
}

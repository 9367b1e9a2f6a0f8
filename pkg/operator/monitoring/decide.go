package monitoring

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/apply"
)

// intent is what is wanted of all objects together.
type intent int

const (
	// hold writes nothing.
	hold intent = iota
	// operatorOnly keeps what tells of the operator, and takes everything else away.
	operatorOnly
	// everything keeps all.
	everything
)

// intentOf follows the state of Config; without Config nothing is known and nothing done.
func intentOf(config *registryv1.Config) intent {
	switch {
	case config == nil:
		return hold
	case config.DeletionTimestamp != nil, config.Spec.ManagementState == registryv1.Removed:
		return operatorOnly
	case config.Spec.ManagementState == registryv1.Managed:
		return everything
	default:
		return hold
	}
}

// action is what is to be done with one object.
type action int

const (
	keep action = iota
	create
	change
	remove
	// foreign objects carry our name and were made by somebody else.
	foreign
)

// decide compares one object with what is wanted; desired is nil when it is to go, live when it does not exist.
// The text says why.
func decide(desired, live *unstructured.Unstructured) (action, string, error) {
	switch {
	case live == nil && desired == nil:
		return keep, "", nil
	case live == nil:
		return create, "it does not exist", nil
	case live.GetDeletionTimestamp() != nil:
		return keep, "", nil
	}
	owned, err := apply.Owned(live, registryv1.OperatorName)
	if err != nil {
		return keep, "", err
	}
	if owned == nil && live.GetLabels()[registryv1.LabelManagedBy] != registryv1.OperatorName {
		return foreign, "", nil
	}
	if desired == nil {
		return remove, "the registry is Removed", nil
	}
	if owned == nil {
		return change, "it was not applied yet", nil
	}
	if difference := apply.Difference(desired, owned); difference != "" {
		return change, difference, nil
	}
	return keep, "", nil
}

package v1

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/conversion"
	"k8s.io/apimachinery/pkg/runtime"

	"image.alauda.io/api/image/docker10"
	imagev1 "image.alauda.io/api/image/v1"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
)

// Convert_runtime_RawExtension_To_docker10_DockerImage decodes the metadata of
// an image. Fields that the type does not know are dropped.
func Convert_runtime_RawExtension_To_docker10_DockerImage(in *runtime.RawExtension, out *docker10.DockerImage, _ conversion.Scope) error {
	*out = docker10.DockerImage{}
	raw := bytes.TrimSpace(in.Raw)
	if len(raw) == 0 && in.Object != nil {
		encoded, err := json.Marshal(in.Object)
		if err != nil {
			return fmt.Errorf("dockerImageMetadata: %w", err)
		}
		raw = encoded
	}
	if len(raw) == 0 || bytes.Equal(raw, []byte("null")) {
		return nil
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return &WireError{Field: "dockerImageMetadata", Err: err}
	}
	if !docker10.KnownAPIVersion(out.APIVersion) || out.Kind != "" && out.Kind != docker10.Kind {
		return &WireError{Field: "dockerImageMetadata", Err: fmt.Errorf("%s %s is not known, use %s %s", out.APIVersion, out.Kind, docker10.APIVersion, docker10.Kind)}
	}
	// Kind and version are a matter of the wire form.
	out.Kind, out.APIVersion = "", ""
	return nil
}

// Convert_docker10_DockerImage_To_runtime_RawExtension encodes the metadata of
// an image; metadata without content is left out.
func Convert_docker10_DockerImage_To_runtime_RawExtension(in *docker10.DockerImage, out *runtime.RawExtension, _ conversion.Scope) error {
	*out = runtime.RawExtension{}
	versioned := *in
	versioned.Kind, versioned.APIVersion = "", ""
	if equality.Semantic.DeepEqual(versioned, docker10.DockerImage{}) {
		return nil
	}
	versioned.Kind, versioned.APIVersion = docker10.Kind, docker10.APIVersion
	raw, err := json.Marshal(&versioned)
	if err != nil {
		return fmt.Errorf("dockerImageMetadata: %w", err)
	}
	out.Raw = raw
	return nil
}

// Convert_Slice_v1_TagReference_To_Map_string_To_image_TagReference refuses a
// tag that is listed twice.
func Convert_Slice_v1_TagReference_To_Map_string_To_image_TagReference(in *[]imagev1.TagReference, out *map[string]imageapi.TagReference, s conversion.Scope) error {
	*out = nil
	if len(*in) == 0 {
		return nil
	}
	tags := make(map[string]imageapi.TagReference, len(*in))
	for i := range *in {
		name := (*in)[i].Name
		if _, found := tags[name]; found {
			return &WireError{Field: "spec.tags", Err: fmt.Errorf("duplicate tag %q", name)}
		}
		var tag imageapi.TagReference
		if err := Convert_v1_TagReference_To_image_TagReference(&(*in)[i], &tag, s); err != nil {
			return err
		}
		tags[name] = tag
	}
	*out = tags
	return nil
}

// Convert_Map_string_To_image_TagReference_To_Slice_v1_TagReference lists tags
// sorted by name.
func Convert_Map_string_To_image_TagReference_To_Slice_v1_TagReference(in *map[string]imageapi.TagReference, out *[]imagev1.TagReference, s conversion.Scope) error {
	*out = nil
	for _, name := range sortedNames(*in) {
		tag := (*in)[name]
		var converted imagev1.TagReference
		if err := Convert_image_TagReference_To_v1_TagReference(&tag, &converted, s); err != nil {
			return err
		}
		converted.Name = name
		*out = append(*out, converted)
	}
	return nil
}

// Convert_Slice_v1_NamedTagEventList_To_Map_string_To_image_TagEventList
// refuses a tag that is listed twice.
func Convert_Slice_v1_NamedTagEventList_To_Map_string_To_image_TagEventList(in *[]imagev1.NamedTagEventList, out *map[string]imageapi.TagEventList, s conversion.Scope) error {
	*out = nil
	if len(*in) == 0 {
		return nil
	}
	tags := make(map[string]imageapi.TagEventList, len(*in))
	for i := range *in {
		name := (*in)[i].Tag
		if _, found := tags[name]; found {
			return &WireError{Field: "status.tags", Err: fmt.Errorf("duplicate tag %q", name)}
		}
		var history imageapi.TagEventList
		if err := Convert_v1_NamedTagEventList_To_image_TagEventList(&(*in)[i], &history, s); err != nil {
			return err
		}
		tags[name] = history
	}
	*out = tags
	return nil
}

// Convert_Map_string_To_image_TagEventList_To_Slice_v1_NamedTagEventList lists
// histories sorted by tag.
func Convert_Map_string_To_image_TagEventList_To_Slice_v1_NamedTagEventList(in *map[string]imageapi.TagEventList, out *[]imagev1.NamedTagEventList, s conversion.Scope) error {
	*out = nil
	for _, name := range sortedNames(*in) {
		history := (*in)[name]
		converted := imagev1.NamedTagEventList{Tag: name}
		if err := Convert_image_TagEventList_To_v1_NamedTagEventList(&history, &converted, s); err != nil {
			return err
		}
		*out = append(*out, converted)
	}
	return nil
}

// Convert_v1_NamedTagEventList_To_image_TagEventList converts one history; the
// tag is its key in the map.
func Convert_v1_NamedTagEventList_To_image_TagEventList(in *imagev1.NamedTagEventList, out *imageapi.TagEventList, s conversion.Scope) error {
	out.Items, out.Conditions = nil, nil
	for i := range in.Items {
		var event imageapi.TagEvent
		if err := Convert_v1_TagEvent_To_image_TagEvent(&in.Items[i], &event, s); err != nil {
			return err
		}
		out.Items = append(out.Items, event)
	}
	for i := range in.Conditions {
		var condition imageapi.TagEventCondition
		if err := Convert_v1_TagEventCondition_To_image_TagEventCondition(&in.Conditions[i], &condition, s); err != nil {
			return err
		}
		out.Conditions = append(out.Conditions, condition)
	}
	return nil
}

// Convert_image_TagEventList_To_v1_NamedTagEventList converts one history and
// leaves the tag alone.
func Convert_image_TagEventList_To_v1_NamedTagEventList(in *imageapi.TagEventList, out *imagev1.NamedTagEventList, s conversion.Scope) error {
	out.Items, out.Conditions = nil, nil
	for i := range in.Items {
		var event imagev1.TagEvent
		if err := Convert_image_TagEvent_To_v1_TagEvent(&in.Items[i], &event, s); err != nil {
			return err
		}
		out.Items = append(out.Items, event)
	}
	for i := range in.Conditions {
		var condition imagev1.TagEventCondition
		if err := Convert_image_TagEventCondition_To_v1_TagEventCondition(&in.Conditions[i], &condition, s); err != nil {
			return err
		}
		out.Conditions = append(out.Conditions, condition)
	}
	return nil
}

// Convert_image_ImageStreamTag_To_v1_ImageStreamTag drops the history, which
// only tables show.
func Convert_image_ImageStreamTag_To_v1_ImageStreamTag(in *imageapi.ImageStreamTag, out *imagev1.ImageStreamTag, s conversion.Scope) error {
	return autoConvert_image_ImageStreamTag_To_v1_ImageStreamTag(in, out, s)
}

func sortedNames[T any](tags map[string]T) []string {
	names := make([]string, 0, len(tags))
	for name := range tags {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

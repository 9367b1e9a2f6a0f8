package snapshot

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/client-go/rest"

	imagev1 "image.alauda.io/api/image/v1"
	imagescheme "image.alauda.io/client-go/clientset/versioned/scheme"
	"image.alauda.io/registry/pkg/pruner/objects"
)

// record is the part of an Image that a decision needs. Images are most of what a run reads, and most of an
// Image is its description and the labels, variables and media types in it.
type record struct {
	Metadata struct {
		Name              string            `json:"name"`
		UID               types.UID         `json:"uid"`
		ResourceVersion   string            `json:"resourceVersion"`
		CreationTimestamp metav1.Time       `json:"creationTimestamp"`
		Annotations       map[string]string `json:"annotations"`
	} `json:"metadata"`
	DockerImageMetadata described `json:"dockerImageMetadata"`
	DockerImageLayers   []layer   `json:"dockerImageLayers"`
	// DockerImageManifests are the children.
	DockerImageManifests []struct {
		Digest string `json:"digest"`
	} `json:"dockerImageManifests"`
}

type layer struct {
	Name string `json:"name"`
	Size int64  `json:"size"`
}

// described is what an Image's metadata say, or why they cannot be understood.
type described struct {
	metadata
	err error
}

// UnmarshalJSON implements json.Unmarshaler. What cannot be understood is the affair of this one Image.
func (d *described) UnmarshalJSON(raw []byte) error {
	d.metadata, d.err = metadata{}, nil
	if !bytes.Equal(raw, []byte("null")) {
		d.metadata, d.err = decodeMetadata(raw)
	}
	return nil
}

// recordOf is the part of an Image that was read as a whole.
func recordOf(image *imagev1.Image) record {
	var r record
	r.Metadata.Name, r.Metadata.UID, r.Metadata.ResourceVersion = image.Name, image.UID, image.ResourceVersion
	r.Metadata.CreationTimestamp, r.Metadata.Annotations = image.CreationTimestamp, image.Annotations
	r.DockerImageMetadata.metadata, r.DockerImageMetadata.err = decodeMetadata(image.DockerImageMetadata.Raw)
	for _, each := range image.DockerImageLayers {
		r.DockerImageLayers = append(r.DockerImageLayers, layer{each.Name, each.LayerSize})
	}
	for _, child := range image.DockerImageManifests {
		r.DockerImageManifests = append(r.DockerImageManifests, struct {
			Digest string `json:"digest"`
		}{child.Digest})
	}
	return r
}

// recordList is a page of Images.
type recordList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata"`
	Items           []record `json:"items"`
}

// records reads pages of Images as JSON and shows visit what is kept of each.
func records(client rest.Interface, visit func(Image)) readFunc {
	return func(ctx context.Context, options metav1.ListOptions) (page, error) {
		result := client.Get().Resource("images").VersionedParams(&options, imagescheme.ParameterCodec).Do(ctx)
		if err := result.Error(); err != nil {
			return page{}, err
		}
		body, err := result.Raw()
		if err != nil {
			return page{}, err
		}
		return recordPage(body, visit)
	}
}

// recordPage finds out where the list goes on, and leaves the rest until the next page is being read.
func recordPage(body []byte, visit func(Image)) (page, error) {
	begin, err := beginning(body)
	if err != nil {
		return page{}, err
	}
	return page{
		Page: objects.Page{Continue: begin.Continue, ResourceVersion: begin.ResourceVersion},
		visit: func() (int, error) {
			list, err := decodeRecords(body)
			if err != nil {
				return 0, err
			}
			if list.Continue != begin.Continue || list.ResourceVersion != begin.ResourceVersion {
				return 0, errors.New("the list says twice where it goes on")
			}
			for i := range list.Items {
				visit(list.Items[i].project())
			}
			return len(list.Items), nil
		},
	}, nil
}

// beginning reads the metadata of a list, which servers write before its items; otherwise it reads all.
func beginning(body []byte) (metav1.ListMeta, error) {
	decoder := json.NewDecoder(bytes.NewReader(body))
	opening, err := decoder.Token()
	for err == nil && opening == json.Delim('{') && decoder.More() {
		var key json.Token
		if key, err = decoder.Token(); err != nil || key == "items" {
			break
		}
		if key == "metadata" {
			var begin metav1.ListMeta
			if err = decoder.Decode(&begin); err == nil {
				return begin, nil
			}
			break
		}
		var other json.RawMessage
		err = decoder.Decode(&other)
	}
	list, err := decodeRecords(body)
	return list.ListMeta, err
}

// decodeRecords refuses everything but a list of Images: anything else would be one without items.
func decodeRecords(body []byte) (recordList, error) {
	var list recordList
	if err := utiljson.Unmarshal(body, &list); err != nil {
		return list, fmt.Errorf("read the list: %w", err)
	}
	if list.APIVersion != imagev1.SchemeGroupVersion.String() || list.Kind != "ImageList" {
		return list, fmt.Errorf("the answer is no list of images but %q of %q", list.Kind, list.APIVersion)
	}
	return list, nil
}

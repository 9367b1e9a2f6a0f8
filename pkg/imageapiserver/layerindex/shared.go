package layerindex

import (
	"unique"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/layers"
)

// shared is a record whose strings are those of all other records with the same text.
type shared struct {
	record *layers.Record
	// handles keep the texts known: one that nobody holds a handle of is forgotten, although its string is
	// still in use, and the next record would get a copy.
	handles []unique.Handle[string]
}

// reduce keeps what the layers of a stream are made of, with shared strings.
func reduce(image *imageapi.Image) shared {
	record := layers.NewRecord(image)
	interned := interner{}
	record.Name, record.MediaType, record.ConfigID = interned.share(record.Name), interned.share(record.MediaType), interned.share(record.ConfigID)
	for n := range record.Layers {
		layer := &record.Layers[n]
		layer.Name, layer.MediaType = interned.share(layer.Name), interned.share(layer.MediaType)
	}
	for n, child := range record.Children {
		record.Children[n] = interned.share(child)
	}
	handles := make([]unique.Handle[string], 0, len(interned))
	for handle := range interned {
		handles = append(handles, handle)
	}
	return shared{record, handles}
}

// interner holds the texts of one record.
type interner map[unique.Handle[string]]struct{}

func (i interner) share(text string) string {
	if text == "" {
		return ""
	}
	handle := unique.Make(text)
	i[handle] = struct{}{}
	return handle.Value()
}

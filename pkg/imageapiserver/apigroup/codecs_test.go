package apigroup_test

import (
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/imageapiserver/apigroup"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
)

// largest remembers the largest piece that was written.
type largest struct{ piece, total int }

func (l *largest) Write(p []byte) (int, error) {
	l.piece, l.total = max(l.piece, len(p)), l.total+len(p)
	return len(p), nil
}

// TestListsAreWrittenItemByItem: the memory that the answer to a list takes must not grow with the list.
func TestListsAreWrittenItemByItem(t *testing.T) {
	codecs, err := apigroup.NewCodecs(nil)
	if err != nil {
		t.Fatal(err)
	}
	list := &imageapi.ImageList{}
	for i := range 1000 {
		list.Items = append(list.Items, imageapi.Image{
			ObjectMeta:           metav1.ObjectMeta{Name: fmt.Sprintf("sha256:%064d", i)},
			DockerImageReference: strings.Repeat("a", 1000),
		})
	}
	info, ok := runtime.SerializerInfoForMediaType(codecs.Negotiated.SupportedMediaTypes(), runtime.ContentTypeJSON)
	if !ok {
		t.Fatal("no JSON")
	}
	var written largest
	if err := codecs.Negotiated.EncoderForVersion(info.Serializer, imagev1.SchemeGroupVersion).Encode(list, &written); err != nil {
		t.Fatal(err)
	}
	if written.total < 1_000_000 || written.piece > 10_000 {
		t.Errorf("a list of %d bytes was written in pieces of up to %d", written.total, written.piece)
	}
}

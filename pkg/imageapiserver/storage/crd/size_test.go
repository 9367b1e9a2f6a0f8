package crd_test

import (
	"net/http"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/storage/compress"
)

func TestWhatCouldNotBeReadBackIsNotStored(t *testing.T) {
	store := imageStore(t, func(_ http.ResponseWriter, r *http.Request) { t.Errorf("request %s %s", r.Method, r.URL) })
	huge := &imageapi.Image{ObjectMeta: metav1.ObjectMeta{Name: "huge"}, DockerImageConfig: strings.Repeat("<", compress.MaxSize/6+1)}
	if err := store.Create(t.Context(), "/images/huge", huge, nil, 0); !apierrors.IsRequestEntityTooLargeError(err) {
		t.Errorf("create gave %v, want a too large entity", err)
	}
}

package imagestream_test

import (
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"image.alauda.io/registry/pkg/imageapiserver/apigroup/grouptest"
)

// Nobody is asked about, and nothing is looked up under, what cannot name a stream.
func TestSourcesThatNameNoStream(t *testing.T) {
	env := grouptest.New(t)
	for _, from := range [][2]string{{"", "../team-b/app:v1"}, {"", "a/b:v1"}, {"", "Upper:v1"}, {"team-b/x", "app:v1"}, {"..", "app:v1"}, {"*", "app:v1"}} {
		err := create(env, grouptest.Stream(ns, "app", grouptest.Tag("v1", "ImageStreamTag", from[0], from[1])))
		if !apierrors.IsInvalid(err) || strings.Contains(err.Error(), "Internal error") || strings.Contains(err.Error(), "Not found") {
			t.Errorf("source %q in %q gave %v, want an invalid field", from[1], from[0], err)
		}
	}
	if env.Reviews.Asked != 0 {
		t.Errorf("%d access reviews were made, want none", env.Reviews.Asked)
	}
}

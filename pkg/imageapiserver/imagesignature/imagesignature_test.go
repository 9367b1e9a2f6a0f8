package imagesignature_test

import (
	"bytes"
	"fmt"
	"sync"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/registry/rest"

	"image.alauda.io/registry/pkg/imageapiserver/apigroup/grouptest"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/imagesignature"
)

func storage(env *grouptest.Env) *imagesignature.REST {
	return env.Group.Storage["imagesignatures"].(*imagesignature.REST)
}

func withImage(t *testing.T) (*grouptest.Env, string) {
	t.Helper()
	env := grouptest.New(t)
	image := grouptest.Pushed("team-a", "app", "one")
	if _, err := env.Group.Images.Record(env.Request("registry", "", "images"), image, nil); err != nil {
		t.Fatal(err)
	}
	return env, image.Name
}

func signature(image, name, content string) *imageapi.ImageSignature {
	signature := &imageapi.ImageSignature{Type: "AtomicImageV1", Content: []byte(content)}
	signature.Name = image + "@" + name
	return signature
}

func create(env *grouptest.Env, signature *imageapi.ImageSignature, dryRun ...string) (*imageapi.ImageSignature, error) {
	obj, err := storage(env).Create(env.Request("signer", "", "imagesignatures"), signature, rest.ValidateAllObjectFunc, &metav1.CreateOptions{DryRun: dryRun})
	if err != nil {
		return nil, err
	}
	return obj.(*imageapi.ImageSignature), nil
}

func remove(env *grouptest.Env, name string, options *metav1.DeleteOptions) error {
	_, _, err := storage(env).Delete(env.Request("signer", "", "imagesignatures"), name, rest.ValidateAllObjectFunc, options)
	return err
}

func stored(t *testing.T, env *grouptest.Env, image string) *imageapi.Image {
	t.Helper()
	found, err := env.Group.Images.Find(env.Request("signer", "", "images"), image)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// Behaviour 10.
func TestCreate(t *testing.T) {
	env, image := withImage(t)
	before := stored(t, env, image)
	writes := env.Backend.Writes()
	if _, err := create(env, signature(image, "dry", "dry"), metav1.DryRunAll); err != nil || env.Backend.Writes() != writes {
		t.Errorf("dry run gave %v and %d writes", err, env.Backend.Writes()-writes)
	}

	given := signature(image, "first", "content")
	now := metav1.NewTime(env.Clock.Now())
	given.Conditions = []imageapi.SignatureCondition{{Type: imageapi.SignatureTrusted, Status: "True"}}
	given.ImageIdentity, given.SignedClaims, given.Created = "forged", map[string]string{"a": "b"}, &now
	given.IssuedBy, given.IssuedTo = &imageapi.SignatureIssuer{}, &imageapi.SignatureSubject{}
	got, err := create(env, given)
	if err != nil {
		t.Fatal(err)
	}
	if got.Conditions != nil || got.ImageIdentity != "" || got.SignedClaims != nil || got.Created != nil || got.IssuedBy != nil || got.IssuedTo != nil {
		t.Errorf("what only a verifier says was stored: %+v", got)
	}
	if got.UID == "" || got.CreationTimestamp.IsZero() || string(got.Content) != "content" {
		t.Errorf("the stored signature is %+v", got)
	}
	after := stored(t, env, image)
	if len(after.Signatures) != 1 || after.Signatures[0].Name != image+"@first" {
		t.Errorf("the image has signatures %+v", after.Signatures)
	}
	if after.DockerImageReference != before.DockerImageReference || len(after.DockerImageLayers) != len(before.DockerImageLayers) ||
		fmt.Sprint(after.Annotations) != fmt.Sprint(before.Annotations) || after.UID != before.UID {
		t.Errorf("another field of the image changed: %+v", after)
	}

	other := signature(image, "typed", "content")
	other.Type = "OtherV1"
	if _, err = create(env, other); err != nil {
		t.Errorf("the same content of another type gave %v", err)
	}
	refused := map[string]struct {
		signature *imageapi.ImageSignature
		check     func(error) bool
	}{
		"the same name":    {signature(image, "first", "other content"), apierrors.IsAlreadyExists},
		"the same content": {signature(image, "second", "content"), apierrors.IsAlreadyExists},
		"no image":         {signature(grouptest.Digest("absent"), "first", "content"), apierrors.IsNotFound},
		"no type":          {&imageapi.ImageSignature{ObjectMeta: metav1.ObjectMeta{Name: image + "@x"}, Content: []byte("x")}, apierrors.IsInvalid},
		"no content":       {&imageapi.ImageSignature{ObjectMeta: metav1.ObjectMeta{Name: image + "@x"}, Type: "x"}, apierrors.IsInvalid},
		"no name":          {&imageapi.ImageSignature{Type: "x", Content: []byte("x")}, apierrors.IsInvalid},
		"a short name":     {signature("", "x", "x"), apierrors.IsInvalid},
		"two separators":   {signature(image, "a@b", "x"), apierrors.IsInvalid},
		"too much content": {signature(image, "big", string(bytes.Repeat([]byte("x"), 128<<10+1))), apierrors.IsInvalid},
		"labels": {&imageapi.ImageSignature{ObjectMeta: metav1.ObjectMeta{Name: image + "@x", Labels: map[string]string{"a": "b"}}, Type: "x", Content: []byte("x")},
			apierrors.IsInvalid},
		"annotations": {&imageapi.ImageSignature{ObjectMeta: metav1.ObjectMeta{Name: image + "@x", Annotations: map[string]string{"a": "b"}}, Type: "x", Content: []byte("x")},
			apierrors.IsInvalid},
	}
	for what, test := range refused {
		if _, err := create(env, test.signature); !test.check(err) {
			t.Errorf("%s gave %v", what, err)
		}
	}
	if got := len(stored(t, env, image).Signatures); got != 2 {
		t.Errorf("%d signatures, want 2", got)
	}
}

// Behaviour 10.
func TestLimitOfSignatures(t *testing.T) {
	env, image := withImage(t)
	errs := make([]error, 40)
	var group sync.WaitGroup
	for i := range errs {
		group.Go(func() { _, errs[i] = create(env, signature(image, fmt.Sprint("s", i), fmt.Sprint("content ", i))) })
	}
	group.Wait()
	refused := 0
	for i, err := range errs {
		if err != nil {
			refused++
			if !apierrors.IsInvalid(err) {
				t.Errorf("signature %d gave %v", i, err)
			}
		}
	}
	if got := len(stored(t, env, image).Signatures); got != 32 || refused != 8 {
		t.Errorf("%d signatures were stored and %d refused, want 32 and 8", got, refused)
	}
}

// Behaviour 10.
func TestDelete(t *testing.T) {
	env, image := withImage(t)
	for _, name := range []string{"a", "b"} {
		if _, err := create(env, signature(image, name, name)); err != nil {
			t.Fatal(err)
		}
	}
	other := types.UID("other")
	if err := remove(env, image+"@a", &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &other}}); !apierrors.IsConflict(err) {
		t.Errorf("another UID gave %v", err)
	}
	old := "1"
	if err := remove(env, image+"@a", &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{ResourceVersion: &old}}); !apierrors.IsConflict(err) {
		t.Errorf("another resourceVersion gave %v", err)
	}
	writes := env.Backend.Writes()
	if err := remove(env, image+"@a", &metav1.DeleteOptions{DryRun: []string{metav1.DryRunAll}}); err != nil || env.Backend.Writes() != writes {
		t.Errorf("dry run gave %v and %d writes", err, env.Backend.Writes()-writes)
	}
	if err := remove(env, image+"@a", nil); err != nil {
		t.Errorf("delete gave %v", err)
	}
	left := stored(t, env, image)
	if len(left.Signatures) != 1 || left.Signatures[0].Name != image+"@b" || len(left.DockerImageLayers) == 0 {
		t.Errorf("the image is %+v", left)
	}
	for name, check := range map[string]func(error) bool{
		image + "@a": apierrors.IsNotFound, grouptest.Digest("absent") + "@a": apierrors.IsNotFound, image: apierrors.IsBadRequest, image + "@": apierrors.IsBadRequest,
	} {
		if err := remove(env, name, nil); !check(err) {
			t.Errorf("delete of %s gave %v", name, err)
		}
	}
}

package image_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"image.alauda.io/registry/pkg/imageapiserver/apigroup/grouptest"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/apis/image/validation"
)

var probed = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func condition(conditionType imageapi.SignatureConditionType, status corev1.ConditionStatus, minutes int) imageapi.SignatureCondition {
	at := metav1.NewTime(probed.Add(time.Duration(minutes) * time.Minute))
	return imageapi.SignatureCondition{Type: conditionType, Status: status, LastProbeTime: at, LastTransitionTime: at, Reason: "manually verified"}
}

// signed creates an image with one signature.
func signed(t *testing.T, env *grouptest.Env) *imageapi.Image {
	t.Helper()
	image := grouptest.Pushed("a", "b", "one")
	image.Signatures = []imageapi.ImageSignature{{ObjectMeta: metav1.ObjectMeta{Name: image.Name + "@first"}, Type: "AtomicImageV1", Content: []byte("content")}}
	created, err := create(env, image)
	if err != nil {
		t.Fatal(err)
	}
	return created
}

// verify does what a verification saves with a plain update of the Image.
func verify(signature *imageapi.ImageSignature) {
	signature.Conditions = []imageapi.SignatureCondition{
		condition(imageapi.SignatureForImage, corev1.ConditionTrue, 0), condition(imageapi.SignatureTrusted, corev1.ConditionTrue, 0),
	}
	signature.ImageIdentity = "registry.example.test/a/b:one"
	signature.SignedClaims = map[string]string{"ref": "one"}
	signature.IssuedBy = &imageapi.SignatureIssuer{SignatureGenericEntity: imageapi.SignatureGenericEntity{CommonName: "security@example.test"}}
	signature.IssuedTo = &imageapi.SignatureSubject{PublicKeyID: "0123"}
}

// Behaviour 10.
func TestSignaturesThatAreRefused(t *testing.T) {
	cases := map[string]struct {
		change func(*imageapi.Image)
		field  string
	}{
		"no name":         {func(i *imageapi.Image) { i.Signatures[0].Name = "" }, "signatures[0].metadata.name"},
		"no image":        {func(i *imageapi.Image) { i.Signatures[0].Name = "@first" }, "signatures[0].metadata.name"},
		"other image":     {func(i *imageapi.Image) { i.Signatures[0].Name = digest("other") + "@first" }, "signatures[0].metadata.name"},
		"label":           {func(i *imageapi.Image) { i.Signatures[0].Labels = map[string]string{"a": "b"} }, "signatures[0].metadata.labels"},
		"annotation":      {func(i *imageapi.Image) { i.Signatures[0].Annotations = map[string]string{"a": "b"} }, "signatures[0].metadata.annotations"},
		"no type":         {func(i *imageapi.Image) { i.Signatures[0].Type = "" }, "signatures[0].type"},
		"no content":      {func(i *imageapi.Image) { i.Signatures[0].Content = nil }, "signatures[0].content"},
		"changed type":    {func(i *imageapi.Image) { i.Signatures[0].Type = "CosignV1" }, "signatures[0].type"},
		"changed content": {func(i *imageapi.Image) { i.Signatures[0].Content = []byte("forged") }, "signatures[0].content"},
		"too long": {func(i *imageapi.Image) {
			add(i, "second", strings.Repeat("x", validation.MaxSignatureContent+1))
		}, "signatures[1].content"},
		"too many": {func(i *imageapi.Image) {
			for n := range validation.MaxSignatures {
				add(i, fmt.Sprintf("s%d", n), fmt.Sprintf("content %d", n))
			}
		}, "signatures"},
		"same name":    {func(i *imageapi.Image) { add(i, "first", "content") }, "signatures[1].metadata.name"},
		"same content": {func(i *imageapi.Image) { add(i, "second", "content") }, "signatures[1].content"},
		"trusted alone": {func(i *imageapi.Image) {
			i.Signatures[0].Conditions = []imageapi.SignatureCondition{condition(imageapi.SignatureTrusted, corev1.ConditionTrue, 0)}
		}, "signatures[0].conditions"},
		"for image alone": {func(i *imageapi.Image) {
			i.Signatures[0].Conditions = []imageapi.SignatureCondition{condition(imageapi.SignatureForImage, corev1.ConditionTrue, 0)}
		}, "signatures[0].conditions"},
		"bad status": {func(i *imageapi.Image) {
			i.Signatures[0].Conditions = []imageapi.SignatureCondition{condition(imageapi.SignatureRevoked, "Maybe", 0)}
		}, "signatures[0].conditions[0].status"},
		"untyped condition": {func(i *imageapi.Image) {
			i.Signatures[0].Conditions = []imageapi.SignatureCondition{condition("", corev1.ConditionTrue, 0)}
		}, "signatures[0].conditions[0].type"},
		"identity unverified": {func(i *imageapi.Image) { i.Signatures[0].ImageIdentity = "registry.example.test/a/b" }, "signatures[0].imageIdentity"},
		"claims unverified":   {func(i *imageapi.Image) { i.Signatures[0].SignedClaims = map[string]string{"a": "b"} }, "signatures[0].signedClaims"},
		"issuer unverified":   {func(i *imageapi.Image) { i.Signatures[0].IssuedBy = &imageapi.SignatureIssuer{} }, "signatures[0].issuedBy"},
		"subject of an unknown verdict that came last": {func(i *imageapi.Image) {
			verify(&i.Signatures[0])
			i.Signatures[0].ImageIdentity, i.Signatures[0].SignedClaims, i.Signatures[0].IssuedBy = "", nil, nil
			i.Signatures[0].Conditions = append(i.Signatures[0].Conditions, condition(imageapi.SignatureTrusted, corev1.ConditionUnknown, 1))
		}, "signatures[0].issuedTo"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			env := grouptest.New(t)
			image := signed(t, env)
			c.change(image)
			_, err := update(env, image)
			var status apierrors.APIStatus
			if !apierrors.IsInvalid(err) || !errors.As(err, &status) {
				t.Fatalf("update: %v, want Invalid", err)
			}
			for _, cause := range status.Status().Details.Causes {
				if cause.Field == c.field {
					return
				}
			}
			t.Errorf("no cause names %s: %v", c.field, err)
		})
	}
}

func add(image *imageapi.Image, name, content string) {
	image.Signatures = append(image.Signatures, imageapi.ImageSignature{
		ObjectMeta: metav1.ObjectMeta{Name: image.Name + "@" + name}, Type: "AtomicImageV1", Content: []byte(content),
	})
}

// Behaviour 10: both conditions of a pair are saved with a plain update of the Image.
func TestVerificationIsSavedWithTheImage(t *testing.T) {
	env := grouptest.New(t)
	image := signed(t, env)
	verify(&image.Signatures[0])
	// An old verdict does not count beside a newer one.
	image.Signatures[0].Conditions = append(image.Signatures[0].Conditions, condition(imageapi.SignatureTrusted, corev1.ConditionUnknown, -1))
	add(image, "second", strings.Repeat("x", validation.MaxSignatureContent))
	got, err := update(env, image)
	if err != nil {
		t.Fatal(err)
	}
	if first := got.Signatures[0]; len(got.Signatures) != 2 || len(first.Conditions) != 3 || first.IssuedBy.CommonName != "security@example.test" {
		t.Errorf("saved %+v", first)
	}
}

// Behaviour 10: removing one condition of a pair removes the other, and what the verifier read.
func TestRemovingAConditionWithdrawsTheVerification(t *testing.T) {
	for name, keep := range map[string]imageapi.SignatureConditionType{
		"trusted removed": imageapi.SignatureForImage, "for image removed": imageapi.SignatureTrusted, "both removed": "",
	} {
		env := grouptest.New(t)
		image := signed(t, env)
		verify(&image.Signatures[0])
		revoked := condition(imageapi.SignatureRevoked, corev1.ConditionFalse, 0)
		image.Signatures[0].Conditions = append(image.Signatures[0].Conditions, revoked)
		image, err := update(env, image)
		if err != nil {
			t.Fatal(err)
		}
		conditions := []imageapi.SignatureCondition{revoked}
		if keep != "" {
			conditions = append(conditions, condition(keep, corev1.ConditionTrue, 0))
		}
		image.Signatures[0].Conditions = conditions
		image, err = update(env, image)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got := image.Signatures[0]
		if len(got.Conditions) != 1 || got.Conditions[0].Type != imageapi.SignatureRevoked {
			t.Errorf("%s: conditions %+v, want Revoked alone", name, got.Conditions)
		}
		if got.ImageIdentity != "" || got.SignedClaims != nil || got.IssuedBy != nil || got.IssuedTo != nil || string(got.Content) != "content" {
			t.Errorf("%s: what the verifier read is still there: %+v", name, got)
		}
	}
}

// Behaviour 10.
func TestSignaturesOfANewImageAreChecked(t *testing.T) {
	image := grouptest.Pushed("a", "b", "one")
	image.Signatures = []imageapi.ImageSignature{{ObjectMeta: metav1.ObjectMeta{Name: "first"}, Type: "AtomicImageV1", Content: []byte("x")}}
	if _, err := create(grouptest.New(t), image); !apierrors.IsInvalid(err) {
		t.Errorf("create: %v, want Invalid", err)
	}
}

package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
	"github.com/opencontainers/go-digest"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	kubefake "k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	clocktesting "k8s.io/utils/clock/testing"

	imagev1 "image.alauda.io/api/image/v1"
	imagefake "image.alauda.io/client-go/clientset/versioned/fake"
	"image.alauda.io/registry/pkg/pruner/options"
	"image.alauda.io/registry/pkg/pruner/registry"
)

const signedAs = "registry.example.test/ns/app:v1"

// oneManifest is a registry that knows a single repository.
type oneManifest struct {
	repository string
	err        error
}

func (m oneManifest) Manifest(_ context.Context, repository string, _ digest.Digest) ([]byte, error) {
	if repository != m.repository {
		return nil, fmt.Errorf("asked for %s", repository)
	}
	return nil, m.err
}

type signed struct {
	*verification
	image    *imagefake.Clientset
	out      bytes.Buffer
	key      *openpgp.Entity
	stranger *openpgp.Entity
	registry oneManifest
}

// newSigned has an Image with one signature for each of contents, which get the keys and the image.
func newSigned(t *testing.T, contents ...func(*signed) []byte) *signed {
	t.Helper()
	s := &signed{registry: oneManifest{repository: "ns/app"}}
	s.key, s.stranger = signer(t), signer(t)
	object := image("a")
	object.DockerImageReference = "internal:5000/ns/app@" + id("a")
	for i, content := range contents {
		object.Signatures = append(object.Signatures, imagev1.ImageSignature{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("%s@%d", id("a"), i)}, Type: imagev1.ImageSignatureTypeAtomicImageV1, Content: content(s),
		})
	}
	s.image = imagefake.NewClientset(object)
	kube := kubefake.NewClientset()
	kube.PrependReactor("create", "selfsubjectreviews", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, &authenticationv1.SelfSubjectReview{Status: authenticationv1.SelfSubjectReviewStatus{UserInfo: authenticationv1.UserInfo{Username: "auditor"}}}, nil
	})
	file := filepath.Join(t.TempDir(), "trusted.gpg")
	var public bytes.Buffer
	if err := s.key.Serialize(&public); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, public.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	s.verification = &verification{
		Verify: options.Verify{ExpectedIdentity: signedAs, PublicKey: file}, clients: clients{kube: kube, image: s.image},
		id: digest.Digest(id("a")), clock: clocktesting.NewFakePassiveClock(now), out: &s.out, errors: io.Discard,
		manifests: func(context.Context) (manifestSource, error) { return s.registry, nil },
	}
	if err := s.readTrust(); err != nil {
		t.Fatal(err)
	}
	return s
}

func before() *packet.Config {
	return &packet.Config{Time: func() time.Time { return now.Add(-time.Hour) }, Algorithm: packet.PubKeyAlgoEdDSA}
}

func signer(t *testing.T) *openpgp.Entity {
	t.Helper()
	key, err := openpgp.NewEntity("signer", "", "signer@example.test", before())
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func sign(t *testing.T, key *openpgp.Entity, letter, identity string) []byte {
	t.Helper()
	var out bytes.Buffer
	writer, err := openpgp.Sign(&out, []*openpgp.Entity{key}, nil, before())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(writer, `{"critical":{"type":"atomic container signature","image":{"docker-manifest-digest":%q},"identity":{"docker-reference":%q}},"optional":{}}`, id(letter), identity)
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func (s *signed) stored(t *testing.T) []imagev1.ImageSignature {
	t.Helper()
	object, err := s.image.ImageV1().Images().Get(t.Context(), id("a"), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return object.Signatures
}

func (s *signed) updates() int {
	count := 0
	for _, action := range s.image.Actions() {
		if action.GetVerb() == "update" {
			count++
		}
	}
	return count
}

// Behaviour 66.
func TestVerificationOfSeveralSignatures(t *testing.T) {
	good := func(s *signed) []byte { return sign(t, s.key, "a", signedAs) }
	strange := func(s *signed) []byte { return sign(t, s.stranger, "a", signedAs) }
	elsewhere := func(s *signed) []byte { return sign(t, s.key, "a", "registry.example.test/ns/app:v2") }
	another := func(s *signed) []byte { return sign(t, s.key, "b", signedAs) }

	s := newSigned(t, strange, elsewhere, another, good)
	if err := s.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"failed\t" + id("a") + "@0\treason=UnknownKey", "failed\t" + id("a") + "@1\treason=WrongIdentity", "failed\t" + id("a") + "@2\treason=WrongDigest", "trusted\t" + id("a") + "@3\tkey=" + fmt.Sprintf("%016X", s.key.PrimaryKey.KeyId)} {
		if line := strings.Split(s.out.String(), "\n")[i]; !strings.HasPrefix(line, want) {
			t.Errorf("line %d is %q, want %q", i, line, want)
		}
	}
	if s.updates() != 0 {
		t.Error("an Image was written without --save")
	}

	s.Save = true
	if err := s.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, signature := range s.stored(t) {
		if len(signature.Content) == 0 || len(signature.Conditions) != 2 {
			t.Errorf("signature %d: %d bytes, conditions %+v, want it stored with both conditions", i, len(signature.Content), signature.Conditions)
			continue
		}
		trusted := signature.Conditions[0]
		if want := i == 3; (trusted.Status == corev1.ConditionTrue) != want || trusted.Type != imagev1.SignatureTrusted {
			t.Errorf("signature %d: %+v, want trusted %t", i, trusted, want)
		}
		if i == 3 && (trusted.Reason != "manually verified" || !strings.Contains(trusted.Message, "auditor")) {
			t.Errorf("condition %+v, want the user named", trusted)
		}
	}

	s.Save, s.RemoveAll = false, true
	if err := s.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, signature := range s.stored(t) {
		if len(signature.Content) == 0 || len(signature.Conditions) != 0 || signature.IssuedBy != nil {
			t.Errorf("signature %d after --remove-all: %+v", i, signature)
		}
	}

	for name, content := range map[string]func(*signed) []byte{"another key": strange, "another identity": elsewhere, "another digest": another} {
		alone := newSigned(t, content)
		alone.Save = true
		if err := alone.run(t.Context()); exitCode(t.Context(), err) != exitFailed || !strings.Contains(err.Error(), "no signature") || len(alone.stored(t)[0].Content) == 0 {
			t.Errorf("%s alone: %v, want exit 1 and the signature stored", name, err)
		}
	}
}

// Behaviour 66.
func TestSavingMeetsOthers(t *testing.T) {
	good := func(s *signed) []byte { return sign(t, s.key, "a", signedAs) }
	s := newSigned(t, good)
	s.Save = true
	conflicts := 2
	s.image.PrependReactor("update", "images", func(clienttesting.Action) (bool, runtime.Object, error) {
		conflicts--
		return conflicts >= 0, nil, apierrors.NewConflict(imagev1.Resource("images"), id("a"), nil)
	})
	if err := s.run(t.Context()); err != nil || len(s.stored(t)[0].Conditions) != 2 {
		t.Errorf("after two conflicts: %v, %+v", err, s.stored(t)[0].Conditions)
	}
	s = newSigned(t, good)
	s.Save = true
	s.image.PrependReactor("update", "images", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(imagev1.Resource("images"), id("a"), nil)
	})
	if err := s.run(t.Context()); exitCode(t.Context(), err) != exitRefused {
		t.Errorf("without the right to update: %v, want exit 4", err)
	}
	s = newSigned(t, good)
	s.image.PrependReactor("get", "images", func(clienttesting.Action) (bool, runtime.Object, error) {
		object := image("a")
		object.DockerImageReference = "internal:5000/ns/app@" + id("a")
		object.Signatures = []imagev1.ImageSignature{{Type: "CosignV1", Content: []byte("x")}}
		return true, object, nil
	})
	s.Save = true
	if err := s.run(t.Context()); exitCode(t.Context(), err) != exitFailed || !strings.HasPrefix(s.out.String(), "unverified\t") {
		t.Errorf("a type that cannot be verified: %v, printed %q", err, s.out.String())
	}
	for _, action := range s.image.Actions() {
		if update, ok := action.(clienttesting.UpdateAction); ok {
			if written := update.GetObject().(*imagev1.Image); len(written.Signatures[0].Conditions) != 0 {
				t.Errorf("it was written as %+v", written.Signatures[0])
			}
		}
	}
}

// Behaviour 66.
func TestVerificationNeedsTheManifest(t *testing.T) {
	good := func(s *signed) []byte { return sign(t, s.key, "a", signedAs) }
	for want, err := range map[int]error{
		exitFailed:   &registry.AnswerError{Status: 404},
		exitRegistry: errors.New("no route to host"),
	} {
		s := newSigned(t, good)
		s.Save, s.registry.err = true, err
		if err := s.run(t.Context()); exitCode(t.Context(), err) != want || s.updates() != 0 || s.out.Len() != 0 {
			t.Errorf("%v: exit %d, printed %q, want %d and nothing said of the signature", err, exitCode(t.Context(), err), s.out.String(), want)
		}
	}
	s := newSigned(t)
	if err := s.run(t.Context()); exitCode(t.Context(), err) != exitFailed || !strings.Contains(err.Error(), "no signatures") {
		t.Errorf("no signatures: %v", err)
	}
	s.id = digest.Digest(id("b"))
	if err := s.run(t.Context()); exitCode(t.Context(), err) != exitFailed {
		t.Errorf("no such Image: %v", err)
	}
}

// Behaviour 66.
func TestMistakesInVerification(t *testing.T) {
	nothing := filepath.Join(t.TempDir(), "nothing.gpg")
	if err := os.WriteFile(nothing, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for flags, want := range map[string]string{
		"":                                   "accepts 1 arg",
		"nonsense --expected-identity=a/b:c": "not the digest",
		id("a"):                              "--expected-identity",
		id("a") + " --expected-identity=A/B": "--expected-identity",
		id("a") + " --expected-identity=a/b:c --remove-all":                             "--remove-all",
		id("a") + " --save --remove-all":                                                "--remove-all",
		id("a") + " --expected-identity=a/b:c --public-key=/none":                       "--public-key",
		id("a") + " --expected-identity=a/b:c --public-key=" + nothing:                  "--public-key",
		id("a") + " --expected-identity=a/b:c --insecure --certificate-authority=/none": "--certificate-authority",
		id("a") + " --remove-all --kubeconfig=/none":                                    "--kubeconfig",
	} {
		var out, errs bytes.Buffer
		args := append([]string{"verify-image-signature"}, strings.Fields(flags)...)
		if code := Run(context.Background(), args, &out, &errs); code != exitUsage || !strings.Contains(errs.String(), want) {
			t.Errorf("%s: exit %d, %q, want 2 and %q", flags, code, errs.String(), want)
		}
	}
}

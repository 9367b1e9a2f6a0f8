// Package signatures is the wire format and the API calls of the signature extension.
//
// Clients that see X-Registry-Supports-Signatures read and write the signatures of an
// image as JSON documents below /extensions/v2/<repository>/signatures/<digest>. In go
// such documents; out come ImageSignatures of the image API, and the other way round.
// Read checks what a client sent and refuses it with the code SIGNATURE_INVALID.
//
// The registry stores signatures and hands them out. It verifies none: what a signature
// says is between who signs and who trusts.
package signatures

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/registry/apierror"

	"github.com/opencontainers/go-digest"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// MaxDocument is the size of the largest accepted document in bytes.
	MaxDocument = 256 << 10

	schemaVersion = 2
	defaultType   = "AtomicImageV1"
)

// Signature is one signature as clients see it.
type Signature struct {
	SchemaVersion int `json:"schemaVersion"`
	// Name is <digest of the image>@<name of the signature>.
	Name string `json:"name"`
	Type string `json:"type"`
	// Content is base64 in JSON.
	Content []byte `json:"content"`
}

// List is the answer to a reader; Signatures is never null.
type List struct {
	Signatures []Signature `json:"signatures"`
}

// NewList turns the signatures of an image into an answer.
func NewList(stored []imagev1.ImageSignature) List {
	list := List{Signatures: make([]Signature, 0, len(stored))}
	for _, one := range stored {
		list.Signatures = append(list.Signatures, Signature{SchemaVersion: schemaVersion, Name: one.Name, Type: one.Type, Content: one.Content})
	}
	return list
}

// Read takes the document of a client for the image with the digest. Every error is the
// refusal that the client gets.
func Read(raw []byte, image digest.Digest) (*imagev1.ImageSignature, error) {
	if len(raw) > MaxDocument {
		return nil, apierror.New(http.StatusRequestEntityTooLarge, apierror.CodeSignatureInvalid, "the signature is larger than %d bytes", MaxDocument)
	}
	var given Signature
	decoder := json.NewDecoder(bytes.NewReader(raw))
	if err := decoder.Decode(&given); err != nil {
		return nil, invalid("the body is no signature: it must be an object with schemaVersion, name, type and, in base64, content")
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, invalid("there is something behind the signature")
	}
	of, name, _ := strings.Cut(given.Name, "@")
	switch {
	case given.SchemaVersion != schemaVersion:
		return nil, invalid("schemaVersion must be 2")
	case of != image.String():
		return nil, invalid("the name must be %s@<name of the signature>", image)
	case name == "":
		return nil, invalid("the signature has no name behind the @")
	case len(given.Content) == 0:
		return nil, invalid("the signature has no content")
	}
	if given.Type == "" {
		given.Type = defaultType
	}
	return &imagev1.ImageSignature{ObjectMeta: metav1.ObjectMeta{Name: given.Name}, Type: given.Type, Content: given.Content}, nil
}

func invalid(format string, args ...any) *apierror.Error {
	return apierror.New(http.StatusBadRequest, apierror.CodeSignatureInvalid, format, args...)
}

package signature

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
)

// maxClaims bounds the text that is signed.
const maxClaims = 64 << 10

// claimType is what the signed text says of itself.
const claimType = "atomic container signature"

// claims are what a signature says.
type claims struct {
	// Digest is of the manifest, Identity the name that the signer gives to it.
	Digest   digest.Digest
	Identity string
}

// parseClaims reads the signed text. What a signature wants to be understood and is not known makes it
// useless, so nothing else may stand in the critical part.
func parseClaims(text []byte) (claims, error) {
	var signed struct {
		Critical *struct {
			Type  string `json:"type"`
			Image *struct {
				Digest string `json:"docker-manifest-digest"`
			} `json:"image"`
			Identity *struct {
				Reference string `json:"docker-reference"`
			} `json:"identity"`
		} `json:"critical"`
		Optional json.RawMessage `json:"optional"`
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&signed); err != nil {
		return claims{}, fmt.Errorf("the signed text is no claim about an image: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return claims{}, errors.New("the signed text is more than a claim about an image")
	}
	critical := signed.Critical
	if critical == nil || critical.Image == nil || critical.Identity == nil {
		return claims{}, errors.New("the signed text names no image or no identity")
	}
	if critical.Type != claimType {
		return claims{}, fmt.Errorf("the signed text is a %.100q, not a %q", critical.Type, claimType)
	}
	id, err := digest.Parse(critical.Image.Digest)
	if err != nil {
		return claims{}, fmt.Errorf("the signed digest %.100q cannot be read", critical.Image.Digest)
	}
	return claims{Digest: id, Identity: critical.Identity.Reference}, nil
}

// ParseIdentity reads the identity that somebody expects.
func ParseIdentity(text string) (reference.Named, error) {
	named, err := reference.ParseNormalizedNamed(text)
	if err != nil {
		return nil, fmt.Errorf("%q is no image reference: %w", text, err)
	}
	return named, nil
}

// checkIdentity compares what was signed with what is expected. An expected digest asks for the repository
// and for the digest of the image, whatever tag was signed; everything else must be equal.
func checkIdentity(signed string, expected reference.Named, image digest.Digest) error {
	named, err := reference.ParseNormalizedNamed(signed)
	if err != nil {
		return fmt.Errorf("the signed identity %.200q is no image reference", signed)
	}
	if canonical, ok := expected.(reference.Canonical); ok {
		if canonical.Digest() != image {
			return fmt.Errorf("the expected identity names the image %s", canonical.Digest())
		}
		if named.Name() == canonical.Name() {
			return nil
		}
	} else if named.String() == expected.String() {
		return nil
	}
	return fmt.Errorf("it was signed as %s, expected was %s", named, expected)
}

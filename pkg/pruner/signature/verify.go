package signature

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"io"
	"time"

	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
)

// Reasons why a signature is not trusted, as they stand in its condition.
const (
	ReasonUnreadable    = "Unreadable" // it cannot be read, or not within bounds
	ReasonUnknownKey    = "UnknownKey"
	ReasonBadSignature  = "InvalidSignature"
	ReasonExpired       = "NotValidNow" // signature or key, expired, revoked or of the future
	ReasonWrongDigest   = "WrongDigest"
	ReasonWrongIdentity = "WrongIdentity"
)

// Finding is what came of verifying a signature.
type Finding struct {
	// Trusted: a known key signed the expected identity of this image.
	Trusted bool
	// Reason and Message say why it is not trusted.
	Reason, Message string
	// Read: the claims were signed by a known key; the rest holds only then.
	Read bool
	// ForImage: the claims are about this image.
	ForImage bool
	// KeyID of the signer, in the usual 16 digits.
	KeyID string
	// Identity is the name that the signer gave to the image.
	Identity string
	// Signed is when, as the signer says.
	Signed time.Time
}

// Verifier knows whom to trust and what to expect.
type Verifier struct {
	Keys     Keys
	Identity reference.Named
	Now      time.Time
}

// Verify judges the content of one signature of the image.
func (v Verifier) Verify(content []byte, image digest.Digest) Finding {
	text, finding := v.open(content)
	if finding.Reason != "" {
		return finding
	}
	said, err := parseClaims(text)
	if err != nil {
		return finding.refuse(ReasonUnreadable, err)
	}
	finding.Read, finding.Identity, finding.ForImage = true, said.Identity, said.Digest == image
	if !finding.ForImage {
		return finding.refuse(ReasonWrongDigest, fmt.Errorf("it is about the image %s", said.Digest))
	}
	if err := checkIdentity(said.Identity, v.Identity, image); err != nil {
		return finding.refuse(ReasonWrongIdentity, err)
	}
	finding.Trusted = true
	return finding
}

func (f Finding) refuse(reason string, err error) Finding {
	f.Trusted, f.Reason, f.Message = false, reason, err.Error()
	return f
}

// open returns the text that a known key has signed, or a finding with a reason.
func (v Verifier) open(content []byte) (text []byte, finding Finding) {
	// The content comes from strangers; what the library does not foresee must not end the program.
	defer func() {
		if cause := recover(); cause != nil {
			text, finding = nil, Finding{}.refuse(ReasonUnreadable, errors.New("it cannot be read"))
		}
	}()
	plain, err := unpack(content)
	if err != nil {
		return nil, finding.refuse(ReasonUnreadable, err)
	}
	config := v.config()
	message, err := openpgp.ReadMessage(bytes.NewReader(plain), v.Keys.entities, nil, config)
	if err != nil {
		return nil, finding.refuse(ReasonUnreadable, err)
	}
	if text, err = io.ReadAll(io.LimitReader(message.UnverifiedBody, maxClaims+1)); err != nil {
		return nil, finding.refuse(ReasonUnreadable, err)
	}
	if len(text) > maxClaims {
		return nil, finding.refuse(ReasonUnreadable, fmt.Errorf("the signed text is larger than %d bytes", maxClaims))
	}
	switch err := message.SignatureError; {
	case errors.Is(err, pgperrors.ErrUnknownIssuer):
		return nil, finding.refuse(ReasonUnknownKey, fmt.Errorf("no given key has signed it; it names the key %016X", issuer(message)))
	case errors.Is(err, pgperrors.ErrSignatureExpired), errors.Is(err, pgperrors.ErrKeyExpired):
		return nil, finding.refuse(ReasonExpired, err)
	case err != nil:
		return nil, finding.refuse(ReasonBadSignature, err)
	case !message.IsVerified || message.SignedBy == nil || message.Signature == nil:
		return nil, finding.refuse(ReasonBadSignature, errors.New("it was not verified"))
	}
	key := message.SignedBy.PublicKey.KeyId
	// The signer chooses the time of the signature, so the key has to be good today, too.
	if _, good := message.SignedBy.Entity.SigningKeyById(v.Now, key, config); !good {
		return nil, finding.refuse(ReasonExpired, fmt.Errorf("the key %016X is expired or revoked", key))
	}
	finding.KeyID, finding.Signed = fmt.Sprintf("%016X", key), message.Signature.CreationTime
	return text, finding
}

func issuer(message *openpgp.MessageDetails) uint64 {
	if message.SelectedCandidate == nil {
		return 0
	}
	return message.SelectedCandidate.IssuerKeyId
}

// config refuses what is broken: text signed over MD5, SHA-1 or RIPEMD, small keys.
func (v Verifier) config() *packet.Config {
	limit := int64(maxUnpacked)
	weak := map[crypto.Hash]bool{crypto.MD5: true, crypto.SHA1: true, crypto.RIPEMD160: true}
	return &packet.Config{
		Time:                        func() time.Time { return v.Now },
		MinRSABits:                  2048,
		RejectMessageHashAlgorithms: weak,
		MaxDecompressedMessageSize:  &limit,
	}
}

package signature

import (
	"bytes"
	"errors"
	"fmt"

	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

// Keys are public keys whose signatures are trusted.
type Keys struct{ entities openpgp.EntityList }

// keybox begins the files in which newer versions of GnuPG keep keys.
var keybox = []byte("KBXf")

// ParseKeys reads public keys, armored or not.
func ParseKeys(file []byte) (Keys, error) {
	if len(file) >= 12 && bytes.Equal(file[8:12], keybox) {
		return Keys{}, errors.New("it is a keybox, whose form is GnuPG's own; export the keys that you trust with gpg --export")
	}
	read := openpgp.ReadKeyRing
	if bytes.HasPrefix(bytes.TrimSpace(file), armorBegin) {
		read = openpgp.ReadArmoredKeyRing
	}
	entities, err := read(bytes.NewReader(file))
	if err != nil {
		return Keys{}, fmt.Errorf("it holds no OpenPGP public keys: %w", err)
	}
	if len(entities) == 0 {
		return Keys{}, errors.New("it holds no OpenPGP public keys")
	}
	return Keys{entities}, nil
}

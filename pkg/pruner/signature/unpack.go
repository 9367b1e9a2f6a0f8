package signature

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

const (
	// maxContent is what the API stores of a signature, with room to spare.
	maxContent = 256 << 10
	// maxUnpacked bounds what compressed content may become, maxPackets what it may consist of.
	maxUnpacked = 1 << 20
	maxPackets  = 64
	// maxSigners bounds the signatures in one message.
	maxSigners = 8
)

// Tags of OpenPGP packets (RFC 9580 section 5).
const (
	tagSignature  = 2
	tagOnePass    = 4
	tagCompressed = 8
	tagMarker     = 10
	tagLiteral    = 11
	tagPadding    = 21
)

var armorBegin = []byte("-----BEGIN ")

// unpack returns a signed message as plain packets: without armor, and without compression, of which one
// layer around everything is allowed.
func unpack(content []byte) ([]byte, error) {
	if len(content) > maxContent {
		return nil, fmt.Errorf("it is larger than %d bytes", maxContent)
	}
	content, err := withoutArmor(content)
	if err != nil {
		return nil, err
	}
	packets, err := split(content)
	if err != nil {
		return nil, err
	}
	if len(packets) > 0 && packets[0].Tag == tagCompressed {
		if len(packets) > 1 {
			return nil, errors.New("something follows the compressed message")
		}
		if content, err = decompress(content); err != nil {
			return nil, err
		}
		if packets, err = split(content); err != nil {
			return nil, err
		}
	}
	return content, checkSequence(packets)
}

func withoutArmor(content []byte) ([]byte, error) {
	if !bytes.HasPrefix(bytes.TrimSpace(content), armorBegin) {
		return content, nil
	}
	block, err := armor.Decode(bytes.NewReader(content))
	if err != nil {
		return nil, fmt.Errorf("its armor cannot be read: %w", err)
	}
	if block.Type != "PGP MESSAGE" {
		return nil, fmt.Errorf("it is a %q and no signed message", block.Type)
	}
	plain, err := io.ReadAll(io.LimitReader(block.Body, maxContent+1))
	if err != nil {
		return nil, fmt.Errorf("its armor cannot be read: %w", err)
	}
	return plain, nil
}

// split reads the outermost packets without looking into them.
func split(content []byte) ([]*packet.OpaquePacket, error) {
	reader := packet.NewOpaqueReader(bytes.NewReader(content))
	var packets []*packet.OpaquePacket
	for {
		next, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return packets, nil
		}
		if err != nil {
			return nil, fmt.Errorf("it is no OpenPGP message: %w", err)
		}
		if packets = append(packets, next); len(packets) > maxPackets {
			return nil, fmt.Errorf("it has more than %d packets", maxPackets)
		}
	}
}

// decompress unpacks the one compressed packet.
func decompress(content []byte) ([]byte, error) {
	outer, err := packet.Read(bytes.NewReader(content))
	if err != nil {
		return nil, fmt.Errorf("it cannot be unpacked: %w", err)
	}
	compressed, ok := outer.(*packet.Compressed)
	if !ok {
		return nil, fmt.Errorf("it cannot be unpacked: unexpected %T", outer)
	}
	plain, err := io.ReadAll(io.LimitReader(compressed.Body, maxUnpacked+1))
	if err != nil {
		return nil, fmt.Errorf("it cannot be unpacked: %w", err)
	}
	if len(plain) > maxUnpacked {
		return nil, fmt.Errorf("unpacked it is larger than %d bytes", maxUnpacked)
	}
	return plain, nil
}

// checkSequence accepts one literal text with signatures around it, and nothing else: no key material, no
// encryption, nothing compressed inside. Each signature must name its issuer.
func checkSequence(packets []*packet.OpaquePacket) error {
	signatures, literals := 0, 0
	for _, opaque := range packets {
		switch opaque.Tag {
		case tagOnePass, tagMarker, tagPadding:
		case tagLiteral:
			literals++
		case tagSignature:
			signatures++
			parsed, err := opaque.Parse()
			if err != nil {
				return fmt.Errorf("a signature in it cannot be read: %w", err)
			}
			signature, ok := parsed.(*packet.Signature)
			if !ok || signature.IssuerKeyId == nil {
				return errors.New("a signature in it does not name its issuer")
			}
		default:
			return fmt.Errorf("it contains a packet of type %d, which is no part of a signed message", opaque.Tag)
		}
	}
	switch {
	case literals != 1:
		return fmt.Errorf("it has %d texts, not one", literals)
	case signatures == 0:
		return errors.New("it is not signed")
	case signatures > maxSigners:
		return fmt.Errorf("it has more than %d signatures", maxSigners)
	}
	return nil
}

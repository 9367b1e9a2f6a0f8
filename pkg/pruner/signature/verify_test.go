package signature

import (
	"bytes"
	"compress/flate"
	"crypto"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
	"github.com/opencontainers/go-digest"
)

var (
	now   = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	image = digest.FromString("the manifest")
)

const identity = "registry.example.test/ns/app:v1"

// at is the configuration of somebody whose clock says t.
func at(t time.Time) *packet.Config {
	return &packet.Config{Time: func() time.Time { return t }, Algorithm: packet.PubKeyAlgoEdDSA}
}

func newKey(t testing.TB, config *packet.Config) *openpgp.Entity {
	t.Helper()
	key, err := openpgp.NewEntity("signer", "", "signer@example.test", config)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func claim(id digest.Digest, identity string) string {
	return fmt.Sprintf(`{"critical":{"type":"atomic container signature","image":{"docker-manifest-digest":%q},"identity":{"docker-reference":%q}},"optional":{"creator":"test","timestamp":1893553445}}`, id, identity)
}

func sign(t testing.TB, text string, config *packet.Config, keys ...*openpgp.Entity) []byte {
	t.Helper()
	var out bytes.Buffer
	writer, err := openpgp.Sign(&out, keys, nil, config)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(writer, text); err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func public(t testing.TB, keys ...*openpgp.Entity) Keys {
	t.Helper()
	var out bytes.Buffer
	for _, key := range keys {
		if err := key.Serialize(&out); err != nil {
			t.Fatal(err)
		}
	}
	read, err := ParseKeys(out.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return read
}

func verifier(t testing.TB, expected string, keys ...*openpgp.Entity) Verifier {
	t.Helper()
	named, err := ParseIdentity(expected)
	if err != nil {
		t.Fatal(err)
	}
	return Verifier{Keys: public(t, keys...), Identity: named, Now: now}
}

// Behaviour 66.
func TestFindings(t *testing.T) {
	earlier := at(now.Add(-time.Hour))
	key, stranger := newKey(t, earlier), newKey(t, earlier)
	compressed := at(now.Add(-time.Hour))
	compressed.DefaultCompressionAlgo = packet.CompressionZLIB
	good := claim(image, identity)
	byDigest := "registry.example.test/ns/app@" + image.String()
	tests := []struct {
		name     string
		content  []byte
		expected string
		want     string
	}{
		{"trusted", sign(t, good, earlier, key), identity, ""},
		{"compressed", sign(t, good, compressed, key), identity, ""},
		{"armored", armored(t, "PGP MESSAGE", sign(t, good, earlier, key)), identity, ""},
		{"expected by digest, signed by tag", sign(t, good, earlier, key), byDigest, ""},
		{"signed by digest, expected the same", sign(t, claim(image, byDigest), earlier, key), byDigest, ""},
		{"one of several signers is known", sign(t, good, earlier, stranger, key), identity, ""},
		{"another key", sign(t, good, earlier, stranger), identity, ReasonUnknownKey},
		{"another digest", sign(t, claim(digest.FromString("other"), identity), earlier, key), identity, ReasonWrongDigest},
		{"another tag", sign(t, good, earlier, key), "registry.example.test/ns/app:v2", ReasonWrongIdentity},
		{"another host", sign(t, good, earlier, key), "other.example.test/ns/app:v1", ReasonWrongIdentity},
		{"no tag is not every tag", sign(t, good, earlier, key), "registry.example.test/ns/app", ReasonWrongIdentity},
		{"expected another digest", sign(t, good, earlier, key), "registry.example.test/ns/app@" + digest.FromString("other").String(), ReasonWrongIdentity},
		{"expected by digest in another repository", sign(t, good, earlier, key), "registry.example.test/ns/other@" + image.String(), ReasonWrongIdentity},
		{"signed identity is nonsense", sign(t, claim(image, "A B"), earlier, key), identity, ReasonWrongIdentity},
		{"changed afterwards", changed(sign(t, good, earlier, key)), identity, ReasonBadSignature},
		{"made in the future", sign(t, good, at(now.Add(time.Hour)), key), identity, ReasonExpired},
		{"unknown critical claims", sign(t, strings.Replace(good, `"identity"`, `"other":1,"identity"`, 1), earlier, key), identity, ReasonUnreadable},
		{"another type of claim", sign(t, strings.Replace(good, "atomic", "other", 1), earlier, key), identity, ReasonUnreadable},
		{"two claims", sign(t, good+good, earlier, key), identity, ReasonUnreadable},
		{"no claim", sign(t, "{}", earlier, key), identity, ReasonUnreadable},
		{"not JSON", sign(t, "hello", earlier, key), identity, ReasonUnreadable},
		{"empty", nil, identity, ReasonUnreadable},
		{"nonsense", []byte("nonsense"), identity, ReasonUnreadable},
		{"a detached signature", detached(t, key), identity, ReasonUnreadable},
		{"a key", public1(t, key), identity, ReasonUnreadable},
		{"cleartext", []byte("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nhello\n"), identity, ReasonUnreadable},
		{"armor of something else", armored(t, "PGP PUBLIC KEY BLOCK", public1(t, key)), identity, ReasonUnreadable},
		{"very long", make([]byte, maxContent+1), identity, ReasonUnreadable},
		{"long text", sign(t, strings.Repeat(" ", maxClaims+1), earlier, key), identity, ReasonUnreadable},
		{"twice in one", append(sign(t, good, earlier, key), sign(t, good, earlier, key)...), identity, ReasonUnreadable},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			finding := verifier(t, test.expected, key).Verify(test.content, image)
			if finding.Reason != test.want || finding.Trusted != (test.want == "") {
				t.Fatalf("finding %+v, want reason %q", finding, test.want)
			}
			if finding.Trusted && (finding.KeyID != fmt.Sprintf("%016X", key.PrimaryKey.KeyId) || !finding.Signed.Equal(now.Add(-time.Hour)) || !finding.ForImage) {
				t.Errorf("finding %+v, want the key and the time of the signature", finding)
			}
			if !finding.Trusted && finding.Message == "" {
				t.Error("a refusal without a message")
			}
		})
	}
}

// Behaviour 66.
func TestKeysMustBeGoodToday(t *testing.T) {
	year := 365 * 24 * time.Hour
	shortLived := at(now.Add(-2 * year))
	shortLived.KeyLifetimeSecs = uint32(year / time.Second)
	expired := newKey(t, shortLived)
	content := sign(t, claim(image, identity), at(now.Add(-2*year+time.Hour)), expired)
	if finding := verifier(t, identity, expired).Verify(content, image); finding.Reason != ReasonExpired {
		t.Errorf("signed while the key was valid: %+v, want it refused as expired", finding)
	}
	revoked := newKey(t, at(now.Add(-2*year)))
	content = sign(t, claim(image, identity), at(now.Add(-2*year+time.Hour)), revoked)
	if err := revoked.Revoke(packet.KeyCompromised, "", at(now.Add(-time.Hour))); err != nil {
		t.Fatal(err)
	}
	if finding := verifier(t, identity, revoked).Verify(content, image); finding.Trusted {
		t.Errorf("by a revoked key: %+v", finding)
	}
	key := newKey(t, at(now.Add(-2*year)))
	brief := at(now.Add(-year))
	brief.SigLifetimeSecs = 3600
	if finding := verifier(t, identity, key).Verify(sign(t, claim(image, identity), brief, key), image); finding.Reason != ReasonExpired {
		t.Errorf("an expired signature: %+v", finding)
	}
}

// Behaviour 66.
func TestWeakHashesAndKeysAreRefused(t *testing.T) {
	weak := at(now.Add(-time.Hour))
	weak.Algorithm, weak.RSABits = packet.PubKeyAlgoRSA, 2048
	key := newKey(t, weak)
	for _, hash := range []crypto.Hash{crypto.SHA1, crypto.MD5} {
		content := oldStyle(t, key, hash, claim(image, identity), weak)
		if content == nil {
			continue // the library does not even make one
		}
		if finding := verifier(t, identity, key).Verify(content, image); finding.Trusted {
			t.Errorf("signed over %s: %+v", hash, finding)
		}
	}
	if finding := verifier(t, identity, key).Verify(oldStyle(t, key, crypto.SHA256, claim(image, identity), weak), image); !finding.Trusted {
		t.Errorf("in the old form, over SHA-256: %+v, want it trusted", finding)
	}
	small := at(now.Add(-time.Hour))
	small.Algorithm, small.RSABits, small.MinRSABits = packet.PubKeyAlgoRSA, 1024, 1024
	little := newKey(t, small)
	if finding := verifier(t, identity, little).Verify(sign(t, claim(image, identity), small, little), image); finding.Trusted {
		t.Errorf("by a key of 1024 bits: %+v", finding)
	}
}

// Behaviour 66.
func TestBombsAreNotUnpacked(t *testing.T) {
	bomb := compressedPacket(t, literal(64<<20))
	nested := compressedPacket(t, compressedPacket(t, literal(1<<20)))
	key := newKey(t, at(now.Add(-time.Hour)))
	for name, content := range map[string][]byte{
		"a large text": bomb, "nested": nested, "armored": armored(t, "PGP MESSAGE", bomb[:min(len(bomb), 100<<10)]),
		"many packets": bytes.Repeat([]byte{0xCA, 3, 'P', 'G', 'P'}, maxPackets+1),
		"many signatures": func() []byte {
			keys := make([]*openpgp.Entity, maxSigners+1)
			for i := range keys {
				keys[i] = key
			}
			return sign(t, claim(image, identity), at(now.Add(-time.Hour)), keys...)
		}(),
	} {
		started := time.Now()
		if finding := verifier(t, identity, key).Verify(content, image); finding.Reason != ReasonUnreadable {
			t.Errorf("%s: %+v, want it unreadable", name, finding)
		}
		if took := time.Since(started); took > 20*time.Second {
			t.Errorf("%s took %s", name, took)
		}
	}
	if allocated := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		v := verifier(t, identity, key)
		for b.Loop() {
			v.Verify(bomb, image)
		}
	}).AllocedBytesPerOp(); allocated > 16<<20 {
		t.Errorf("a bomb of 64 MiB takes %d bytes, want it bounded by what may be unpacked", allocated)
	}
}

func TestSignaturesWithoutIssuerAreRefused(t *testing.T) {
	key := newKey(t, at(now.Add(-time.Hour)))
	content := sign(t, claim(image, identity), at(now.Add(-time.Hour)), key)
	packets, err := split(content)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	for _, p := range packets {
		if p.Tag == tagSignature {
			// Version 4, binary text, EdDSA, SHA-256, and not one subpacket.
			p.Contents = append([]byte{4, 0, 22, 8, 0, 0, 0, 0, 0, 0}, 0, 1, 1, 0, 1, 1)
		}
		if err := p.Serialize(&out); err != nil {
			t.Fatal(err)
		}
	}
	if finding := verifier(t, identity, key).Verify(out.Bytes(), image); finding.Reason != ReasonUnreadable {
		t.Errorf("finding %+v, want it unreadable", finding)
	}
}

func TestKeyFiles(t *testing.T) {
	key := newKey(t, at(now))
	if _, err := ParseKeys(armored(t, "PGP PUBLIC KEY BLOCK", public1(t, key))); err != nil {
		t.Errorf("armored keys: %v", err)
	}
	box := append(binary.BigEndian.AppendUint32(nil, 32), []byte("\x01\x01\x00\x02KBXf000000000000")...)
	for name, file := range map[string][]byte{"nothing": nil, "nonsense": []byte("nonsense"), "keybox": box, "a message": armored(t, "PGP MESSAGE", []byte{1})} {
		if _, err := ParseKeys(file); err == nil || name == "keybox" && !strings.Contains(err.Error(), "gpg --export") {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestIdentitiesMustParse(t *testing.T) {
	for _, text := range []string{"", "A/B", "host/ns/app:", "host/ns/app@sha256:x", "x y"} {
		if named, err := ParseIdentity(text); err == nil {
			t.Errorf("%q: %v, want an error", text, named)
		}
	}
}

func FuzzVerify(f *testing.F) {
	earlier := at(now.Add(-time.Hour))
	key := newKey(f, earlier)
	f.Add(sign(f, claim(image, identity), earlier, key))
	f.Add(armored(f, "PGP MESSAGE", sign(f, claim(image, identity), earlier, key)))
	f.Add(compressedPacket(f, literal(100)))
	v := verifier(f, identity, newKey(f, earlier))
	f.Fuzz(func(t *testing.T, content []byte) {
		if finding := v.Verify(content, image); finding.Trusted || finding.Reason == "" {
			t.Errorf("finding %+v without the key of the signer", finding)
		}
	})
}

// changed flips a letter of the text.
func changed(content []byte) []byte {
	out := bytes.Clone(content)
	i := bytes.Index(out, []byte("creator"))
	out[i] = 'C'
	return out
}

func armored(t testing.TB, kind string, content []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	writer, err := armor.Encode(&out, kind, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := writer.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func public1(t testing.TB, key *openpgp.Entity) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := key.Serialize(&out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func detached(t testing.TB, key *openpgp.Entity) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := openpgp.DetachSign(&out, []*openpgp.Entity{key}, strings.NewReader("text"), at(now.Add(-time.Hour))); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// oldStyle is a signature packet before the text, as old programs write it; nil if the hash is not to be
// had.
func oldStyle(t testing.TB, key *openpgp.Entity, hash crypto.Hash, text string, config *packet.Config) []byte {
	t.Helper()
	signature := &packet.Signature{Version: 4, SigType: packet.SigTypeBinary, PubKeyAlgo: key.PrimaryKey.PubKeyAlgo, Hash: hash,
		CreationTime: config.Now(), IssuerKeyId: &key.PrimaryKey.KeyId, IssuerFingerprint: key.PrimaryKey.Fingerprint}
	sum := hash.New()
	io.WriteString(sum, text)
	if err := signature.Sign(sum, key.PrivateKey, config); err != nil {
		return nil
	}
	var out bytes.Buffer
	if err := signature.Serialize(&out); err != nil {
		return nil
	}
	return append(out.Bytes(), literalOf([]byte(text))...)
}

// literal is a text of zeros.
func literal(size int) []byte { return literalOf(make([]byte, size)) }

func literalOf(text []byte) []byte {
	body := append([]byte{'b', 0, 0, 0, 0, 0}, text...)
	header := binary.BigEndian.AppendUint32([]byte{0xC0 | tagLiteral, 0xFF}, uint32(len(body)))
	return append(header, body...)
}

func compressedPacket(t testing.TB, content []byte) []byte {
	t.Helper()
	var body bytes.Buffer
	body.WriteByte(1)
	writer, err := flate.NewWriter(&body, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := writer.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	header := binary.BigEndian.AppendUint32([]byte{0xC0 | tagCompressed, 0xFF}, uint32(body.Len()))
	return append(header, body.Bytes()...)
}

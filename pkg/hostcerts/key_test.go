package hostcerts

import (
	"errors"
	"path"
	"strings"
	"testing"
)

// Behaviour 1.
func TestParseKeyAcceptsHostsOfImageReferences(t *testing.T) {
	for key, want := range map[string]string{
		"registry.example.com":     "registry.example.com",
		"r.example.com..5000":      "r.example.com:5000",
		"10.0.0.1..5000":           "10.0.0.1:5000",
		"localhost..8080":          "localhost:8080",
		"ipv6-fd00--1..5000":       "[fd00::1]:5000",
		"ipv6-fd00--1":             "[fd00::1]",
		"ipv6-gateway.example.com": "ipv6-gateway.example.com",
		"image-registry.image-registry-system.svc..5000": "image-registry.image-registry-system.svc:5000",
		strings.Repeat("a", 63) + ".b..65535":            strings.Repeat("a", 63) + ".b:65535",
		"x--y.example..1":                                "x--y.example:1",
	} {
		got, err := ParseKey(key)
		if err != nil || got != want {
			t.Errorf("ParseKey(%q) = %q, %v; want %q", key, got, err, want)
			continue
		}
		if back, err := Key(got); err != nil || back != key {
			t.Errorf("Key(%q) = %q, %v; want %q", got, back, err, key)
		}
	}
}

// Behaviour 1.
func TestParseKeyRejectsEverythingElse(t *testing.T) {
	for _, key := range []string{
		"", "..", "...", "../../etc", "..5000", "_default", "a/b", "this..is..not..valid..5000", "Registry.example.com",
		"host..", "host..99999", "host..65536", "host..0", "host..080", "host..123456", "host..5a", "host..-1", "host..+1",
		"host:5000", "-host", "host-", "a..b..5000", ".host", "host.", "ho\x00st", "host name", "höst",
		strings.Repeat("a", 64), strings.Repeat("a.", 150), "ipv6-FD00--1", "ipv6-fd00--1%eth0", "ipv6-", "ipv6-..5000",
		"[fd00::1]", "storage-ca-bundle.pem", "host\n",
	} {
		got, err := ParseKey(key)
		var invalid *InvalidKeyError
		if !errors.As(err, &invalid) {
			t.Errorf("ParseKey(%q) = %q, %v; want an InvalidKeyError", key, got, err)
		}
	}
}

// Behaviour 2.
func TestIgnoredNamesAreCertificateFiles(t *testing.T) {
	for key, want := range map[string]bool{
		"storage-ca-bundle.pem": true, "x.crt": true, "x.cer": true, "caKey.key": true,
		"x.pem..5000": false, "registry.example.com": false,
	} {
		if got := Ignored(key); got != want {
			t.Errorf("Ignored(%q) = %v, want %v", key, got, want)
		}
	}
}

func TestKeyRefusesHostsThatNoKeyCanExpress(t *testing.T) {
	for _, host := range []string{"", "a:b:1", "[fd00::1", "Host:1", "a/b", "host:", "ipv6-fd00--1"} {
		if got, err := Key(host); err == nil {
			t.Errorf("Key(%q) = %q, want an error", host, got)
		}
	}
}

// Behaviour 4.
func FuzzParseKey(f *testing.F) {
	for _, seed := range []string{"a..1", "../../etc", "ipv6-fd00--1..5000", "_default", "..", "a..b..1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, key string) {
		host, err := ParseKey(key)
		if err != nil {
			return
		}
		if host == "" || host[0] == '.' || strings.ContainsAny(host, "/\x00\\ \n") || path.Clean("/"+host) != "/"+host {
			t.Fatalf("ParseKey(%q) = %q is not safe as a directory name", key, host)
		}
		if back, err := Key(host); err != nil || back != key {
			t.Fatalf("Key(ParseKey(%q)) = %q, %v", key, back, err)
		}
	})
}

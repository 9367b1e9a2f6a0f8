package inputs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"image.alauda.io/registry/pkg/nodeca/reasons"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func certificate(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// volume writes files as the kubelet does: behind a link that is replaced as a whole.
func volume(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "..2024_01"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, "..2024_01", name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join("..data", name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("..2024_01", filepath.Join(dir, "..data")); err != nil {
		t.Fatal(err)
	}
	return dir
}

func words(found []reasons.Reason) string {
	var all []string
	for _, reason := range found {
		all = append(all, reason.Reason)
	}
	return strings.Join(all, " ")
}

const validConfig = `{"version":1,"hash":"sha256:x","hosts":[{"ip":"10.96.3.7","names":["image-registry.image-registry-system.svc"]}],"registries":["image-registry.image-registry-system.svc:5000"],"extra":1}`

// Behaviours 1, 2, 3.
func TestReadKeepsTheGoodAndReportsTheBad(t *testing.T) {
	ca := certificate(t)
	files := map[string]string{
		"image-registry.image-registry-system.svc..5000": ca,
		"mirror.example.com":                             "garbage",
		"Bad_Key":                                        ca,
		"storage-ca-bundle.pem":                          ca,
	}
	in := Read(Sources{CertificatesDir: volume(t, files), ConfigDir: volume(t, map[string]string{"config.json": validConfig}), Families: FamiliesOf("")}, now)
	if in.Missing || len(in.Bundles) != 1 || in.Bundles["image-registry.image-registry-system.svc:5000"] == nil {
		t.Errorf("bundles %v, missing %v", in.Bundles, in.Missing)
	}
	if !in.Kept["mirror.example.com"] || words(in.Reasons) != "InvalidKey InvalidPEM" {
		t.Errorf("kept %v, reasons %v", in.Kept, in.Reasons)
	}
	if in.Config == nil || len(in.Config.Hosts) != 1 || in.Config.Registries[0] != "image-registry.image-registry-system.svc:5000" {
		t.Errorf("config %+v", in.Config)
	}
}

func TestHashIsTheOneTheOperatorPublishes(t *testing.T) {
	sum := func(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s))) }
	want := "sha256:" + sum("a..5000 "+sum("one")+"\nb.pem "+sum("two")+"\n")
	if got := Hash(map[string][]byte{"b.pem": []byte("two"), "a..5000": []byte("one")}); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// Behaviour 16.
func TestMissingInputsAreNotAnEmptyConfiguration(t *testing.T) {
	ca := map[string]string{"r.example.com": certificate(t)}
	config := map[string]string{"config.json": validConfig}
	for name, test := range map[string]struct {
		certificates, config string
		missing              bool
		want                 string
	}{
		"no directories": {"/nonexistent/a", "/nonexistent/b", true, "ConfigurationMissing ConfigurationMissing"},
		"no keys":        {volume(t, nil), volume(t, config), true, "ConfigurationMissing"},
		"no config.json": {volume(t, ca), volume(t, nil), true, "ConfigurationMissing"},
		"bad JSON":       {volume(t, ca), volume(t, map[string]string{"config.json": "{"}), false, "InvalidConfiguration"},
		"other version":  {volume(t, ca), volume(t, map[string]string{"config.json": `{"version":2}`}), false, "InvalidConfiguration"},
		"complete":       {volume(t, ca), volume(t, config), false, ""},
	} {
		in := Read(Sources{CertificatesDir: test.certificates, ConfigDir: test.config, Families: FamiliesOf("")}, now)
		if in.Missing != test.missing || words(in.Reasons) != test.want {
			t.Errorf("%s: missing %v, reasons %v; want %v, %q", name, in.Missing, in.Reasons, test.missing, test.want)
		}
	}
}

// Behaviour 24.
func TestHostileHostEntriesAreRejected(t *testing.T) {
	const good = "image-registry.image-registry-system.svc"
	for _, entry := range []struct{ ip, name string }{
		{"127.0.0.1", good}, {"::1", good}, {"0.0.0.0", good}, {"::", good}, {"224.0.0.1", good}, {"169.254.1.1", good},
		{"fe80::1", good}, {"::ffff:127.0.0.1", good}, {"255.255.255.255", good}, {"fe80::1%eth0", good}, {"10.0.0.1 x", good}, {"", good},
		{"10.0.0.1", "kubernetes.default.svc"}, {"10.0.0.1", good + "\\n10.0.0.2 evil"}, {"10.0.0.1", good + "c"}, {"10.0.0.1", good + "."},
		{"10.0.0.1", "x." + good}, {"10.0.0.1", good + ".a_b"}, {"10.0.0.1", good + ".a b"}, {"10.0.0.1", ""},
	} {
		text := fmt.Sprintf(`{"version":1,"hosts":[{"ip":"%s","names":["%s"]}]}`, entry.ip, entry.name)
		config, found, err := ParseConfig([]byte(text), FamiliesOf(""))
		if err != nil || len(config.Hosts) != 0 || !config.HostsRejected || words(found) != reasons.InvalidHostEntry {
			t.Errorf("%v: hosts %v, reasons %v, %v", entry, config.Hosts, found, err)
		}
	}
}

// Behaviour 25.
func TestOnlyFamiliesOfTheNodeAreMapped(t *testing.T) {
	const name = `"names":["image-registry.image-registry-system"]`
	both := `{"version":1,"hosts":[{"ip":"10.0.0.1",` + name + `},{"ip":"fd00::1",` + name + `}]}`
	six := `{"version":1,"hosts":[{"ip":"fd00::1",` + name + `}]}`
	for _, test := range []struct{ config, node, want string }{
		{both, "192.0.2.1", "10.0.0.1"}, {both, "2001:db8::1", "fd00::1"}, {both, "192.0.2.1,2001:db8::1", "10.0.0.1 fd00::1"},
		{both, "", "10.0.0.1 fd00::1"}, {six, "192.0.2.1", "fd00::1"},
	} {
		config, _, err := ParseConfig([]byte(test.config), FamiliesOf(test.node))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, host := range config.Hosts {
			got = append(got, host.IP.String())
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("node %q: got %v, want %s", test.node, got, test.want)
		}
	}
}

// Behaviour 4.
func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(validConfig))
	f.Add([]byte(`{"version":1,"hosts":[{"ip":"1","names":[null]}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		config, _, err := ParseConfig(data, Families{IPv4: true})
		if err != nil {
			return
		}
		for _, host := range config.Hosts {
			for _, name := range host.Names {
				if !OwnName(name) || strings.ContainsAny(name, " \n\t#") {
					t.Fatalf("accepted name %q", name)
				}
			}
		}
	})
}

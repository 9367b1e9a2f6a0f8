package certificates

import (
	"bytes"
	"crypto/x509"
	"maps"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

var start = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

// world is a cluster in memory: what Decide wants is applied to it.
type world struct {
	in   Input
	last Result
}

func newWorld() *world {
	return &world{in: Input{
		Now: start, Namespace: "ns", ClusterDomain: "example.test", Serving: true,
		Leaves: map[string]*corev1.Secret{},
		ClusterIPs: map[string][]string{
			registryService:  {"198.18.0.7", "fd00::7"},
			apiServerService: {"198.18.0.8"},
		},
	}}
}

// sync decides once and applies the result. It returns the names of the Secrets that were written.
func (w *world) sync(t *testing.T) []string {
	t.Helper()
	var written []string
	w.last = Decide(w.in)
	if ca := w.last.CA; ca != nil && (w.in.CASecret == nil || !sameSecret(w.in.CASecret, ca)) {
		w.in.CASecret = ca
		written = append(written, ca.Name)
	}
	if len(w.last.Bundle) > 0 {
		w.in.Published = bundleConfigMap(w.in.Published, "ns", w.last)
	}
	for _, leaf := range w.last.Leaves {
		switch leaf.Action {
		case Write, Replace:
			w.in.Leaves[leaf.Name] = leaf.Secret
			written = append(written, leaf.Name)
		case Delete:
			w.in.Leaves[leaf.Name] = nil
			written = append(written, "-"+leaf.Name)
		}
	}
	return written
}

// bundle is what clients can read now.
func (w *world) bundle() []byte {
	if w.in.Published == nil {
		return nil
	}
	return []byte(w.in.Published.Data[BundleKey])
}

// trusts checks that a client with this bundle can talk to every server.
func (w *world) trusts(t *testing.T, bundle []byte) {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(bundle)
	for _, spec := range leafSpecs() {
		leaf := mustPair(t, w.in.Leaves[spec.secret]).cert
		_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: w.in.Now, DNSName: spec.service + ".ns.svc"})
		if err != nil {
			t.Fatalf("%s: a client with the published bundle refuses %s: %v", w.in.Now, spec.secret, err)
		}
	}
}

func mustPair(t *testing.T, secret *corev1.Secret) *pair {
	t.Helper()
	if secret == nil {
		t.Fatal("Secret does not exist")
	}
	parsed, err := parsePair(secret.Data[certKey], secret.Data[privateKey])
	if err != nil {
		t.Fatalf("Secret %s: %v", secret.Name, err)
	}
	return parsed
}

func expectWritten(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("written %q, want %q", got, want)
	}
}

func TestFirstSyncMakesEverythingAndSecondNothing(t *testing.T) {
	w := newWorld()
	expectWritten(t, w.sync(t), CASecretName, RegistrySecretName, APIServerSecretName, OperatorSecretName)
	w.trusts(t, w.bundle())
	ca := mustPair(t, w.in.CASecret).cert
	if life := ca.NotAfter.Sub(start); !ca.IsCA || !ca.MaxPathLenZero || life != 1825*24*time.Hour {
		t.Errorf("authority: CA %v, path length zero %v, life %s", ca.IsCA, ca.MaxPathLenZero, life)
	}
	for _, spec := range leafSpecs() {
		secret := w.in.Leaves[spec.secret]
		if secret.Type != corev1.SecretTypeTLS || !bytes.Equal(secret.Data[leafCAKey], w.last.Bundle) {
			t.Errorf("%s: type %s, or its ca.crt is not the bundle", spec.secret, secret.Type)
		}
		if certs := certificatesIn(secret.Data[certKey]); len(certs) != 2 {
			t.Errorf("%s: tls.crt has %d certificates, want leaf and issuer", spec.secret, len(certs))
		}
	}
	expectWritten(t, w.sync(t))
	if len(w.last.Events) != 0 {
		t.Errorf("second sync tells %v", w.last.Events)
	}
}

// Behaviour 40.
func TestNamesAreCompleteForDualStackServices(t *testing.T) {
	w := newWorld()
	w.sync(t)
	leaf := mustPair(t, w.in.Leaves[RegistrySecretName]).cert
	for _, host := range []string{
		"image-registry", "image-registry.ns", "image-registry.ns.svc", "image-registry.ns.svc.example.test",
		"localhost", "198.18.0.7", "fd00::7", "127.0.0.1", "::1",
	} {
		if err := leaf.VerifyHostname(host); err != nil {
			t.Errorf("registry certificate: %v", err)
		}
	}
	if err := mustPair(t, w.in.Leaves[APIServerSecretName]).cert.VerifyHostname("image-api-server-webhook.ns.svc"); err != nil {
		t.Errorf("API server certificate: %v", err)
	}

	w.in.ClusterIPs[registryService] = []string{"198.18.0.99", "fd00::7"}
	expectWritten(t, w.sync(t), RegistrySecretName)
	if err := mustPair(t, w.in.Leaves[RegistrySecretName]).cert.VerifyHostname("198.18.0.99"); err != nil {
		t.Errorf("after the change of the address: %v", err)
	}
	delete(w.in.ClusterIPs, registryService)
	expectWritten(t, w.sync(t)) // a Service that is away for a moment costs no certificate
}

func TestNothingIsIssuedForAServiceThatIsAboutToComeOrItWouldBeIssuedTwice(t *testing.T) {
	w := newWorld()
	w.in.ServicesComing, w.in.ClusterIPs = true, map[string][]string{}
	if got, want := w.sync(t), []string{CASecretName, OperatorSecretName}; !slices.Equal(got, want) {
		t.Errorf("without Services: wrote %v, want %v", got, want)
	}
	w.in.ClusterIPs[registryService] = []string{"198.18.0.7"}
	if got, want := w.sync(t), []string{RegistrySecretName}; !slices.Equal(got, want) {
		t.Errorf("with one Service: wrote %v, want %v", got, want)
	}
	delete(w.in.ClusterIPs, registryService)
	if got := w.sync(t); len(got) != 0 {
		t.Errorf("a Service that was deleted takes nothing away, but %v was written", got)
	}
	w.in.ServicesComing = false
	if got, want := w.sync(t), []string{APIServerSecretName}; !slices.Equal(got, want) {
		t.Errorf("when nobody will create the Service: wrote %v, want %v", got, want)
	}
}

func TestReasonsToIssueAnew(t *testing.T) {
	tests := []struct {
		name   string
		change func(*world)
		reason string
	}{
		{"missing", func(w *world) { w.in.Leaves[RegistrySecretName] = nil }, "did not exist"},
		{"damaged certificate", func(w *world) { w.in.Leaves[RegistrySecretName].Data[certKey] = []byte("x") }, "damaged"},
		{"missing key", func(w *world) { delete(w.in.Leaves[RegistrySecretName].Data, privateKey) }, "damaged"},
		{"key of another", func(w *world) {
			w.in.Leaves[RegistrySecretName].Data[privateKey] = w.in.Leaves[OperatorSecretName].Data[privateKey]
		}, "damaged"},
		{"wrong type", func(w *world) { w.in.Leaves[RegistrySecretName].Type = corev1.SecretTypeOpaque }, "type"},
		{"one third left", func(w *world) { w.in.Now = start.Add(60*24*time.Hour + time.Minute) }, "one third"},
		{"rotation asked for", func(w *world) { w.in.RotateServing = "1" }, "asked for"},
		{"other domain", func(w *world) { w.in.ClusterDomain = "other.test" }, "names or addresses"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld()
			w.sync(t)
			test.change(w)
			w.sync(t)
			if got := w.last.Leaves[0].Reason; !strings.Contains(got, test.reason) {
				t.Errorf("reason %q, want one with %q", got, test.reason)
			}
			w.trusts(t, w.bundle())
			// Behaviour 44: a rotation that was asked for happens once.
			expectWritten(t, w.sync(t))
		})
	}
}

func TestLeafIsNotRenewedBeforeOneThirdIsLeft(t *testing.T) {
	w := newWorld()
	w.sync(t)
	w.in.Now = start.Add(59 * 24 * time.Hour)
	expectWritten(t, w.sync(t))
}

// Behaviour 41.
func TestClientsTrustEveryLeafThroughYears(t *testing.T) {
	w := newWorld()
	w.sync(t)
	var signers []string
	for day := 1; day <= 7*365; day++ {
		w.in.Now = start.Add(time.Duration(day) * 24 * time.Hour)
		before := w.bundle()
		w.sync(t)
		// A client may have read the bundle any time since yesterday's sync.
		w.trusts(t, before)
		w.trusts(t, w.bundle())
		if serial := mustPair(t, w.in.CASecret).cert.SerialNumber.String(); !slices.Contains(signers, serial) {
			signers = append(signers, serial)
		}
	}
	if len(signers) != 2 {
		t.Errorf("%d signers were in use in seven years, want 2", len(signers))
	}
}

// Behaviours 41 and 44.
func TestRotationOnDemandHasTwoPhases(t *testing.T) {
	w := newWorld()
	w.sync(t)
	old := mustPair(t, w.in.CASecret).cert
	w.in.RotateCA = "2030-01"

	// The bundle beside each leaf follows, the leaves stay.
	before := mustPair(t, w.in.Leaves[RegistrySecretName]).cert
	w.sync(t)
	if !mustPair(t, w.in.Leaves[RegistrySecretName]).cert.Equal(before) || !mustPair(t, w.in.CASecret).cert.Equal(old) {
		t.Fatal("phase one changed a signature")
	}
	if certs := certificatesIn(w.bundle()); len(certs) != 2 {
		t.Fatalf("%d certificates published in phase one, want active and next", len(certs))
	}
	if want := start.Add(24 * time.Hour); w.in.CASecret.Annotations[promoteAnnotation] != want.Format(time.RFC3339) {
		t.Errorf("promotion at %s, want %s", w.in.CASecret.Annotations[promoteAnnotation], want)
	}
	w.in.Now = start.Add(24*time.Hour - time.Second)
	expectWritten(t, w.sync(t))

	w.in.Now = start.Add(24 * time.Hour)
	known, object := w.bundle(), w.in.Published
	w.in.Published = nil // somebody deleted the ConfigMap: nothing is promoted before it is back
	expectWritten(t, w.sync(t))
	w.in.Published = object
	expectWritten(t, w.sync(t), CASecretName, RegistrySecretName, APIServerSecretName, OperatorSecretName)
	w.trusts(t, known)
	if mustPair(t, w.in.CASecret).cert.Equal(old) {
		t.Fatal("the old signer still signs")
	}

	w.in.Now = start.Add((1+91)*24*time.Hour - time.Minute)
	w.sync(t)
	if !contains(certificatesIn(w.bundle()), old) {
		t.Error("the old signer left the bundle before 91 days were over")
	}
	w.in.Now = start.Add((1 + 91) * 24 * time.Hour)
	w.sync(t)
	if contains(certificatesIn(w.bundle()), old) {
		t.Error("the old signer is still in the bundle after 91 days")
	}
	expectWritten(t, w.sync(t))
}

// Behaviour 45.
func TestLostAuthorityIsReplacedAndNobodyLosesTrust(t *testing.T) {
	tests := map[string]func(*world){
		"deleted":        func(w *world) { w.in.CASecret = nil },
		"no key":         func(w *world) { delete(w.in.CASecret.Data, privateKey) },
		"key of another": func(w *world) { w.in.CASecret.Data[privateKey] = w.in.Leaves[OperatorSecretName].Data[privateKey] },
		"garbage":        func(w *world) { w.in.CASecret.Data[certKey] = []byte("garbage") },
		"swapped":        func(w *world) { d := w.in.CASecret.Data; d[certKey], d[privateKey] = d[privateKey], d[certKey] },
		"no data":        func(w *world) { w.in.CASecret.Data = nil },
		"a leaf":         func(w *world) { w.in.CASecret.Data = maps.Clone(w.in.Leaves[RegistrySecretName].Data) },
		"a huge key":     func(w *world) { w.in.CASecret.Data[certKey] = bytes.Repeat([]byte("-----BEGIN X-----\n"), 50_000) },
		"huge annotation": func(w *world) {
			w.in.CASecret.Annotations["x"] = strings.Repeat("x", 250<<10)
			delete(w.in.CASecret.Data, privateKey)
		},
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			w.sync(t)
			old, known := mustPair(t, w.in.CASecret).cert, w.bundle()
			change(w)
			// The new signer is published at once; the leaves still work, and clients do not know it yet.
			w.sync(t)
			w.trusts(t, known)
			w.trusts(t, w.bundle())
			if !contains(certificatesIn(w.bundle()), old) || mustPair(t, w.in.CASecret).cert.Equal(old) {
				t.Error("the bundle lost the old signer, or it is still in use")
			}
			w.in.Now = w.in.Now.Add(settleTime - time.Second)
			expectWritten(t, w.sync(t))
			known = w.bundle()
			w.in.Now = w.in.Now.Add(time.Second)
			expectWritten(t, w.sync(t), RegistrySecretName, APIServerSecretName, OperatorSecretName)
			w.trusts(t, known)
			w.in.Now = w.in.Now.Add(DefaultLifetimes().retire())
			w.sync(t)
			if contains(certificatesIn(w.bundle()), old) {
				t.Error("the lost signer is trusted for good")
			}
			w.trusts(t, w.bundle())
			expectWritten(t, w.sync(t))
		})
	}
}

// Behaviour 45. An administrator who deletes both Secret and bundle wants to get rid of a signer at once.
func TestAuthorityAndBundleThatAreBothGoneAreReplacedAtOnce(t *testing.T) {
	tests := map[string]func(*world){
		"both deleted": func(w *world) { w.in.CASecret, w.in.Published = nil, nil },
		"junk bundle":  func(w *world) { w.in.CASecret = nil; w.in.Published.Data[BundleKey] = "junk" },
		"expired":      func(w *world) { w.in.Now = start.Add(DefaultLifetimes().CA + time.Hour) },
		// A clock that was years ahead made everything; now it is right again.
		"not valid yet": func(w *world) { w.in.Now = start.Add(-1000 * 24 * time.Hour) },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			w.sync(t)
			old := mustPair(t, w.in.CASecret).cert
			change(w)
			expectWritten(t, w.sync(t), CASecretName, RegistrySecretName, APIServerSecretName, OperatorSecretName)
			w.trusts(t, w.bundle())
			if mustPair(t, w.in.CASecret).cert.Equal(old) {
				t.Error("the old signer still signs")
			}
			expectWritten(t, w.sync(t))
		})
	}
}

func TestDamageDuringARotationIsHealedByTheNextSigner(t *testing.T) {
	w := newWorld()
	w.sync(t)
	w.in.RotateCA = "now"
	w.sync(t)
	known := w.bundle()
	delete(w.in.CASecret.Data, privateKey)
	w.sync(t)
	w.trusts(t, known)

	w = newWorld()
	w.sync(t)
	w.in.RotateCA = "now"
	w.sync(t)
	w.in.CASecret.Data[nextKeyKey] = []byte("junk")
	w.in.CASecret.Annotations[previousAnnotation] = "junk"
	w.sync(t)
	w.trusts(t, w.bundle())
}

// supplied turns the world's Secret into one of the administrator, with the given names.
func supplied(t *testing.T, w *world, secretName string, dns ...string) *corev1.Secret {
	t.Helper()
	ca, err := newSigner(w.in.Now, DefaultLifetimes().CA)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := newLeaf(ca, sans{dns: dns, ips: []net.IP{net.IPv4(127, 0, 0, 1)}}, w.in.Now, DefaultLifetimes().Leaf)
	if err != nil {
		t.Fatal(err)
	}
	secret := baseSecret(nil, "ns", secretName, corev1.SecretTypeTLS)
	secret.Annotations, secret.Labels = nil, nil
	secret.Data = map[string][]byte{certKey: leaf.certPEM, privateKey: leaf.keyPEM, leafCAKey: ca.certPEM}
	w.in.Leaves[secretName] = secret
	return secret
}

// Behaviour 44.
func TestSuppliedServingSecretIsUsedAsItIs(t *testing.T) {
	w := newWorld()
	secret := supplied(t, w, RegistrySecretName, "image-registry.ns.svc")
	expectWritten(t, w.sync(t), CASecretName, APIServerSecretName, OperatorSecretName)
	if len(w.last.Problems) != 0 {
		t.Errorf("problems %v", w.last.Problems)
	}
	w.trusts(t, w.bundle()) // its ca.crt joined the bundle

	w.in.Now = start.Add(80 * 24 * time.Hour)
	w.in.RotateServing = "x"
	w.sync(t)
	if w.in.Leaves[RegistrySecretName] != secret {
		t.Error("the supplied Secret was replaced")
	}
	if !slices.ContainsFunc(w.last.Events, func(e Event) bool { return e.Reason == "ServingCertificateExpiring" }) {
		t.Error("no event tells that the supplied certificate is about to expire")
	}
	w.in.Serving = false
	w.in.ClusterIPs = nil
	w.sync(t)
	if w.in.Leaves[RegistrySecretName] != secret {
		t.Error("the supplied Secret was removed")
	}
}

func TestSuppliedMaterialThatDoesNotFitIsReported(t *testing.T) {
	tests := map[string]func(*testing.T, *world){
		"names":  func(t *testing.T, w *world) { supplied(t, w, RegistrySecretName, "registry.example.com") },
		"broken": func(t *testing.T, w *world) { supplied(t, w, RegistrySecretName, "x").Data[privateKey] = nil },
		"CA": func(t *testing.T, w *world) {
			w.in.CASecret = supplied(t, w, CASecretName, "x")
		},
	}
	for name, prepare := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			prepare(t, w)
			w.sync(t)
			if len(w.last.Problems) != 1 || w.last.Problems[0].Reason != "InvalidServingCertificate" {
				t.Errorf("problems %v, want one InvalidServingCertificate", w.last.Problems)
			}
		})
	}
}

func TestSuppliedAuthoritySignsAndIsNeverRotated(t *testing.T) {
	w := newWorld()
	w.sync(t)
	w.in.CASecret.Annotations = nil
	own := w.in.CASecret.DeepCopy()
	w.in.RotateCA = "x"
	for day := range 1800 {
		w.in.Now = start.Add(time.Duration(day) * 24 * time.Hour)
		w.sync(t)
		if w.last.CA != nil {
			t.Fatalf("day %d: the supplied Secret is to be written", day)
		}
	}
	w.trusts(t, w.bundle())
	if !sameSecret(own, w.in.CASecret) {
		t.Error("the supplied Secret changed")
	}
}

func TestLeavesGoWithTheirServicesWhenRemoved(t *testing.T) {
	w := newWorld()
	w.sync(t)
	w.in.Serving = false
	expectWritten(t, w.sync(t))
	delete(w.in.ClusterIPs, registryService)
	expectWritten(t, w.sync(t), "-"+RegistrySecretName)
	w.in.ClusterIPs = nil
	expectWritten(t, w.sync(t), "-"+APIServerSecretName)
	expectWritten(t, w.sync(t))
	if w.in.Leaves[OperatorSecretName] == nil || w.in.CASecret == nil {
		t.Error("the authority or the operator's own certificate went, too")
	}
}

func TestForeignLabelsAndKeysStay(t *testing.T) {
	w := newWorld()
	w.sync(t)
	w.in.CASecret.Labels["team"] = "a"
	w.in.CASecret.Data["note"] = []byte("kept")
	w.in.RotateCA = "x"
	w.sync(t)
	if w.in.CASecret.Labels["team"] != "a" || string(w.in.CASecret.Data["note"]) != "kept" {
		t.Errorf("foreign label or key lost: %v", w.in.CASecret.Labels)
	}
}

func TestNextCheckIsAtMostAnHourAhead(t *testing.T) {
	w := newWorld()
	w.sync(t)
	if got := w.last.NextCheck.Sub(w.in.Now); got != time.Hour {
		t.Errorf("next check in %s, want an hour", got)
	}
	w.in.RotateCA = "x"
	w.sync(t)
	w.in.Now = start.Add(24*time.Hour - 10*time.Minute)
	w.sync(t)
	if got := w.last.NextCheck.Sub(w.in.Now); got != 10*time.Minute {
		t.Errorf("next check in %s, want at the promotion", got)
	}
}

// FuzzDecide feeds damaged Secrets: Decide never panics and always ends with a usable authority.
func FuzzDecide(f *testing.F) {
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), []byte("k"), "a=b,=")
	f.Fuzz(func(t *testing.T, cert, key []byte, note string) {
		w := newWorld()
		w.in.CASecret = baseSecret(nil, "ns", CASecretName, corev1.SecretTypeOpaque)
		w.in.CASecret.Data = map[string][]byte{certKey: cert, privateKey: key, nextCertKey: cert, nextKeyKey: key, previousKey: cert}
		w.in.CASecret.Annotations[previousAnnotation] = note
		w.in.CASecret.Annotations[promoteAnnotation] = note
		w.in.Published = &corev1.ConfigMap{Data: map[string]string{BundleKey: string(cert)}}
		w.in.Published.Annotations = map[string]string{sinceAnnotation: note, previousAnnotation: note}
		w.sync(t)
		w.trusts(t, w.bundle())
	})
}

package certificates

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// quiet checks that a decision is final: another one writes nothing.
func quiet(t *testing.T, w *world) {
	t.Helper()
	if written := w.sync(t); len(written) != 0 {
		t.Errorf("a second sync writes %q", written)
	}
}

// Behaviour 41. A clock that was wrong, in both directions, leaves nothing that is not valid, and nothing that is
// written again and again.
func TestClockJumps(t *testing.T) {
	for _, jump := range []time.Duration{10 * time.Minute, 3 * time.Hour, 70 * 24 * time.Hour, 1500 * 24 * time.Hour, 40 * 365 * 24 * time.Hour} {
		t.Run(jump.String(), func(t *testing.T) {
			w := newWorld()
			w.sync(t)
			for _, now := range []time.Time{start.Add(jump), start, start.Add(-jump), start.Add(time.Minute)} {
				w.in.Now = now
				w.sync(t)
				w.trusts(t, w.bundle())
				quiet(t, w)
			}
			w.in.RotateCA = jump.String()
			w.sync(t)
			w.in.Now = w.in.Now.Add(jump)
			w.sync(t)
			w.in.Now = w.in.Now.Add(-jump)
			w.sync(t)
			w.trusts(t, w.bundle())
			quiet(t, w)
			w.in.Now = w.in.Now.Add(25 * time.Hour) // a promotion is never further away than a day
			w.sync(t)
			w.trusts(t, w.bundle())
			if next := w.in.CASecret.Data[nextCertKey]; len(next) > 0 {
				t.Error("the next signer still waits")
			}
		})
	}
}

// A signer that cannot sign what is needed is named, and does not make the operator issue without end.
func TestSuppliedSignerThatCannotSign(t *testing.T) {
	template := func() *x509.Certificate {
		return &x509.Certificate{
			Subject: pkix.Name{CommonName: "supplied"}, NotBefore: start.Add(-time.Hour), NotAfter: start.Add(time.Hour * 24 * 900),
			IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		}
	}
	tests := map[string]func(*x509.Certificate){
		"key usage":        func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageDigitalSignature },
		"extended usage":   func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} },
		"name constraints": func(c *x509.Certificate) { c.PermittedDNSDomains = []string{"example.com"} },
		"expired":          func(c *x509.Certificate) { c.NotAfter = start.Add(-time.Minute) },
		"not valid yet":    func(c *x509.Certificate) { c.NotBefore = start.Add(time.Hour) },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			w.sync(t)
			cert := template()
			change(cert)
			signer, err := sign(cert, nil)
			if err != nil {
				t.Fatal(err)
			}
			w.in.CASecret = &corev1.Secret{Data: map[string][]byte{certKey: signer.certPEM, privateKey: signer.keyPEM}}
			for range 3 {
				w.in.Now = w.in.Now.Add(2 * settleTime)
				w.sync(t)
				w.trusts(t, w.bundle())
			}
			if len(w.last.Problems) == 0 {
				t.Error("no problem is reported")
			}
			quiet(t, w)
		})
	}
}

// Behaviour 44. What is supplied and cannot work is named.
func TestSuppliedPairsThatDoNotServe(t *testing.T) {
	const host = "image-api-server.ns.svc"
	tests := map[string]struct {
		change func(*testing.T, *world, *corev1.Secret)
		part   string
	}{
		"expired":   {func(_ *testing.T, w *world, _ *corev1.Secret) { w.in.Now = start.Add(91 * 24 * time.Hour) }, "expired"},
		"too early": {func(_ *testing.T, w *world, _ *corev1.Secret) { w.in.Now = start.Add(-2 * time.Hour) }, "not valid before"},
		"no issuer": {func(_ *testing.T, _ *world, s *corev1.Secret) { delete(s.Data, leafCAKey) }, "key ca.crt"},
		"huge CA": {func(_ *testing.T, _ *world, s *corev1.Secret) {
			s.Data[leafCAKey] = bytes.Repeat(s.Data[leafCAKey], 100)
		}, "bytes"},
		"swapped": {func(_ *testing.T, _ *world, s *corev1.Secret) {
			s.Data[certKey], s.Data[privateKey] = s.Data[privateKey], s.Data[certKey]
		}, "no usable"},
		"wrong name": {func(t *testing.T, w *world, _ *corev1.Secret) { supplied(t, w, APIServerSecretName, "other.ns.svc") }, host},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			test.change(t, w, supplied(t, w, APIServerSecretName, host))
			before := w.in.Leaves[APIServerSecretName].DeepCopy()
			w.sync(t)
			if !slices.ContainsFunc(w.last.Problems, func(p Problem) bool {
				return p.Reason == "InvalidServingCertificate" && strings.Contains(p.Message, APIServerSecretName) && strings.Contains(p.Message, test.part)
			}) {
				t.Errorf("problems %v, want one about %s with %q", w.last.Problems, APIServerSecretName, test.part)
			}
			if !sameSecret(before, w.in.Leaves[APIServerSecretName]) {
				t.Error("the supplied Secret was changed")
			}
			if size := len(w.bundle()); size > 2*maxSuppliedCA {
				t.Errorf("the bundle has %d bytes", size)
			}
			quiet(t, w)
		})
	}
}

// Behaviour 44. Each value of the annotations acts once, even one that is longer than annotations may be together
// with others.
func TestRotationAnnotationsActOncePerValue(t *testing.T) {
	w := newWorld()
	w.sync(t)
	for _, value := range []string{"a", "b", strings.Repeat("x", 200<<10)} {
		w.in.RotateServing = value
		expectWritten(t, w.sync(t), RegistrySecretName, APIServerSecretName, OperatorSecretName)
		quiet(t, w)
		w.in.RotateServing = ""
		quiet(t, w)
		w.in.RotateServing = value
		quiet(t, w)
		w.in.RotateCA = value
		w.sync(t)
		if len(w.in.CASecret.Data[nextCertKey]) == 0 {
			t.Fatal("no rotation began")
		}
		w.in.Now = w.in.Now.Add(25 * time.Hour)
		w.sync(t)
		w.sync(t)
		if len(w.in.CASecret.Data[nextCertKey]) != 0 {
			t.Error("the same value began another rotation")
		}
		w.trusts(t, w.bundle())
		if size := len(w.in.CASecret.Annotations[rotateCAAnnotation]); size > 100 {
			t.Errorf("%d bytes of the value are kept", size)
		}
	}
}

// Behaviour 41. A signer does not sign while kube-apiserver or the nodes have another bundle, but no longer than
// the active one can wait.
func TestPromotionWaitsForAllWhoGetTheBundle(t *testing.T) {
	w := newWorld()
	w.sync(t)
	w.in.Trusted = map[string][]byte{"APIService x": w.bundle()}
	w.in.RotateCA = "1"
	w.sync(t)
	old := mustPair(t, w.in.CASecret).cert
	w.in.Now = w.in.Now.Add(48 * time.Hour)
	w.sync(t)
	if !mustPair(t, w.in.CASecret).cert.Equal(old) {
		t.Fatal("the signer was promoted though the APIService does not have it")
	}
	if !slices.ContainsFunc(w.last.Events, func(e Event) bool { return strings.Contains(e.Message, "APIService x") }) {
		t.Errorf("events %v do not name who is behind", w.last.Events)
	}
	late := *w
	w.in.Trusted["APIService x"] = w.bundle()
	w.sync(t)
	if mustPair(t, w.in.CASecret).cert.Equal(old) {
		t.Error("the signer was not promoted though everybody has it")
	}
	w.trusts(t, w.bundle())

	late.in.Trusted = map[string][]byte{"APIService x": nil}
	late.in.Now = old.NotAfter.Add(-100 * 24 * time.Hour)
	late.sync(t)
	if mustPair(t, late.in.CASecret).cert.Equal(old) {
		t.Error("the active signer runs out because somebody does not take up the next")
	}
}

func TestLifetimesThatCannotWorkAreRefused(t *testing.T) {
	day := 24 * time.Hour
	for name, lifetimes := range map[string]Lifetimes{
		"zero": {}, "negative": {Leaf: -day, CA: day, Promote: time.Hour},
		"short leaf":    {Leaf: time.Minute, CA: day, Promote: time.Hour},
		"early":         {Leaf: day, CA: 100 * day, Promote: time.Minute},
		"CA too short":  {Leaf: 80 * day, CA: 100 * day, Promote: day},
		"wait too long": {Leaf: day, CA: 5 * day, Promote: day},
	} {
		if err := lifetimes.ValidateMinimums(); err == nil {
			t.Errorf("%s: %+v is accepted", name, lifetimes)
		}
	}
	if err := DefaultLifetimes().ValidateMinimums(); err != nil {
		t.Error(err)
	}
	w := newWorld()
	w.in.Lifetimes = Lifetimes{Leaf: MinLeaf, CA: 2 * MinLeaf, Promote: MinPromote}
	w.sync(t)
	quiet(t, w)
	w.in.Lifetimes = DefaultLifetimes() // the wait is cut to what the short signer has left
	w.in.Now = w.in.Now.Add(17 * time.Minute)
	w.sync(t)
	w.in.Now = w.in.Now.Add(2 * time.Minute)
	w.sync(t)
	w.trusts(t, w.bundle())
	if left := mustPair(t, w.in.CASecret).cert.NotAfter.Sub(w.in.Now); left < 1000*day {
		t.Errorf("the signer ends in %s", left)
	}
}

// Behaviour 45. With the shortest wait, too, a lost signer is trusted for longer than servers show its leaves.
func TestLostSignerStaysUntilServersHaveSwitched(t *testing.T) {
	w := newWorld()
	w.in.Lifetimes = Lifetimes{Leaf: time.Hour, CA: 10 * time.Hour, Promote: MinPromote}
	w.sync(t)
	old := mustPair(t, w.in.CASecret).cert
	w.in.CASecret = nil
	w.sync(t)
	w.in.Now = w.in.Now.Add(MinPromote)
	expectWritten(t, w.sync(t), RegistrySecretName, APIServerSecretName, OperatorSecretName)
	w.in.Now = w.in.Now.Add(settleTime)
	w.sync(t)
	if !contains(certificatesIn(w.bundle()), old) {
		t.Error("servers that read their new pair late are not trusted any more")
	}
}

// Behaviour 45. A Secret that somebody filled with signers does not make a bundle that fits nowhere: it stands in every
// serving Secret, and several times in one ConfigMap.
func TestRetiredSignersAreBounded(t *testing.T) {
	w := newWorld()
	w.sync(t)
	var certs []*x509.Certificate
	for range 2 * mostRetired {
		signer, err := newSigner(start, 24*time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		certs = append(certs, signer.cert)
	}
	w.in.CASecret.Data[previousKey] = encodeCertificates(certs)
	w.sync(t)
	if got := len(certificatesIn(w.bundle())); got != mostRetired+1 {
		t.Errorf("%d certificates in the bundle, want %d", got, mostRetired+1)
	}
	w.trusts(t, w.bundle())
	quiet(t, w)
}

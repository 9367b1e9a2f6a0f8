package imagestorage

import (
	"testing"
	"time"

	"image.alauda.io/registry/test/selfsigned"
)

// lasting is a certificate with its key that is its own authority.
func lasting(t testing.TB, from, to time.Time) (certificate, key []byte) {
	t.Helper()
	certificate, key, err := selfsigned.Lasting(from, to)
	if err != nil {
		t.Fatal(err)
	}
	return certificate, key
}

func TestTheEndOfTheCertificatesOfAnEtcd(t *testing.T) {
	const day = 24 * time.Hour
	start := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	year, key := lasting(t, start, start.Add(365*day))
	month, _ := lasting(t, start, start.Add(30*day))
	for _, test := range []struct {
		name   string
		secret map[string][]byte
		end    time.Time // zero: unknown
	}{
		{"client and authority", map[string][]byte{KeyCA: year, KeyCertificate: year, KeyPrivate: key}, start.Add(365 * day)},
		{"the authority ends first", map[string][]byte{KeyCA: month, KeyCertificate: year, KeyPrivate: key}, start.Add(30 * day)},
		{"one of two authorities ends first", map[string][]byte{KeyCA: append(append([]byte("text\n"), month...), year...), KeyCertificate: year, KeyPrivate: key}, start.Add(365 * day)},
		{"no authority", map[string][]byte{KeyCertificate: year, KeyPrivate: key}, start.Add(365 * day)},
		{"no pair", map[string][]byte{KeyCA: year, KeyCertificate: month, KeyPrivate: key}, time.Time{}},
		{"nothing", nil, time.Time{}},
	} {
		span, known := SpanOf(test.secret)
		if known == test.end.IsZero() || !span.NotAfter.Equal(test.end) {
			t.Errorf("%s: ends %v (known: %t), want %v", test.name, span.NotAfter, known, test.end)
		}
	}
	for _, test := range []struct {
		life, age time.Duration
		near      bool
	}{
		{365 * day, 350 * day, false}, {365 * day, 351 * day, true}, {365 * day, 400 * day, true},
		{4 * day, 2 * day, false}, {4 * day, 3 * day, true},
	} {
		if near := (Span{start, start.Add(test.life)}).Near(start.Add(test.age)); near != test.near {
			t.Errorf("life of %s at the age of %s: near %t", test.life, test.age, near)
		}
	}
}

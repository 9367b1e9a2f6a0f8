package imagestorage

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"time"
)

// Span is when the certificates of a Secret of an etcd can be used.
type Span struct{ NotBefore, NotAfter time.Time }

// warning is how long ahead the end of a certificate that nobody here renews is told of.
const warning = 14 * 24 * time.Hour

// Near says whether the end is near: of what lives for days only, when a quarter is left.
func (s Span) Near(now time.Time) bool {
	return !now.Before(s.NotAfter.Add(-min(warning, s.NotAfter.Sub(s.NotBefore)/4)))
}

// SpanOf is that of the client's certificate, cut by the end of the last authority that vouches for the etcd. It is
// unknown when the Secret holds no pair.
func SpanOf(secret map[string][]byte) (Span, bool) {
	pair, err := tls.X509KeyPair(secret[KeyCertificate], secret[KeyPrivate])
	if err != nil || pair.Leaf == nil {
		return Span{}, false
	}
	span := Span{pair.Leaf.NotBefore, pair.Leaf.NotAfter}
	if last := lastEnd(secret[KeyCA]); !last.IsZero() && last.Before(span.NotAfter) {
		span.NotAfter = last
	}
	return span, true
}

func lastEnd(authorities []byte) (last time.Time) {
	for block, rest := pem.Decode(authorities); block != nil; block, rest = pem.Decode(rest) {
		if certificate, err := x509.ParseCertificate(block.Bytes); err == nil && certificate.NotAfter.After(last) {
			last = certificate.NotAfter
		}
	}
	return last
}

package serve

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"sync"
)

// Source returns the present certificate chain and key in PEM; nothing while there is none.
type Source func() (certificate, key []byte, err error)

// Reloading serves what the source has at each handshake, so that a renewed pair needs no restart. While the
// source has no usable pair, the last good one is served: it may still be valid, and metrics tell of the fault.
func Reloading(source Source) Certificate {
	var mu sync.Mutex
	var last *tls.Certificate
	var lastCertificate, lastKey []byte
	return func() (*tls.Certificate, error) {
		certificate, key, err := source()
		mu.Lock()
		defer mu.Unlock()
		if err == nil && last != nil && bytes.Equal(certificate, lastCertificate) && bytes.Equal(key, lastKey) {
			return last, nil
		}
		if err == nil && len(certificate) == 0 && len(key) == 0 {
			err = errors.New("no certificate was issued yet")
		}
		if err == nil {
			var pair tls.Certificate
			if pair, err = tls.X509KeyPair(certificate, key); err == nil {
				last, lastCertificate, lastKey = &pair, certificate, key
				return last, nil
			}
		}
		if last != nil {
			return last, nil
		}
		return nil, fmt.Errorf("serving certificate: %w", err)
	}
}

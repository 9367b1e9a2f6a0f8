package server

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

const certificatePoll = 10 * time.Second

// TLSOptions are the files and limits of TLS.
type TLSOptions struct {
	Certificate, Key string
	// MinimumVersion is "tls1.2" or "tls1.3".
	MinimumVersion string
	// CipherSuites are Go's names; empty means Go's choice. Ignored for TLS 1.3.
	CipherSuites []string
	// ClientCAs are PEM files; client certificates are verified if given.
	ClientCAs []string
	HTTP2     bool
}

// Certificate serves a key pair and reads it again when the files change. A bad new
// pair is logged and the old one kept.
type Certificate struct {
	certFile, keyFile string
	current           atomic.Pointer[tls.Certificate]
	sum               [sha256.Size]byte
	log               *zap.Logger
	onChange          func(end time.Time)
}

// NewCertificate reads the pair. onChange gets the end of each pair that is served.
func NewCertificate(certFile, keyFile string, log *zap.Logger, onChange func(time.Time)) (*Certificate, error) {
	c := &Certificate{certFile: certFile, keyFile: keyFile, log: log, onChange: onChange}
	_, err := c.Reload()
	return c, err
}

// Reload reads the files and reports whether a new pair is served.
func (c *Certificate) Reload() (bool, error) {
	certificate, err := os.ReadFile(c.certFile)
	if err != nil {
		return false, fmt.Errorf("serving certificate: %w", err)
	}
	key, err := os.ReadFile(c.keyFile)
	if err != nil {
		return false, fmt.Errorf("serving key: %w", err)
	}
	sum := sha256.Sum256(bytes.Join([][]byte{certificate, key}, []byte{0}))
	if sum == c.sum {
		return false, nil
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return false, fmt.Errorf("serving certificate %s: %w", c.certFile, err)
	}
	c.sum = sum
	c.current.Store(&pair)
	if c.onChange != nil && pair.Leaf != nil {
		c.onChange(pair.Leaf.NotAfter)
	}
	return true, nil
}

// Watch looks for new files until the context ends.
func (c *Certificate) Watch(ctx context.Context) {
	ticker := time.NewTicker(certificatePoll)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		changed, err := c.Reload()
		switch {
		case err != nil:
			c.log.Error("the new serving certificate is not used", zap.Error(err))
		case changed:
			c.log.Info("serving a new certificate", zap.Time("not_after", c.current.Load().Leaf.NotAfter))
		}
	}
}

// Get implements the callback of tls.Config.
func (c *Certificate) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return c.current.Load(), nil
}

// TLSConfig builds the configuration of the listener.
func TLSConfig(options TLSOptions, certificate *Certificate) (*tls.Config, error) {
	// Records of full size from the beginning: small ones would help a browser to show the
	// first bytes early, and cost a layer of a hundred KiB a system call for each packet.
	config := &tls.Config{GetCertificate: certificate.Get, MinVersion: tls.VersionTLS12, DynamicRecordSizingDisabled: true}
	switch options.MinimumVersion {
	case "", "tls1.2":
	case "tls1.3":
		config.MinVersion = tls.VersionTLS13
	default:
		return nil, fmt.Errorf("http.tls.minimumtls: %q must be tls1.2 or tls1.3", options.MinimumVersion)
	}
	known := map[string]uint16{}
	for _, suite := range tls.CipherSuites() {
		known[suite.Name] = suite.ID
	}
	for _, name := range options.CipherSuites {
		id, ok := known[name]
		if !ok {
			return nil, fmt.Errorf("http.tls.ciphersuites: %q is not known or not secure", name)
		}
		config.CipherSuites = append(config.CipherSuites, id)
	}
	if len(options.ClientCAs) > 0 {
		config.ClientAuth, config.ClientCAs = tls.VerifyClientCertIfGiven, x509.NewCertPool()
		for _, file := range options.ClientCAs {
			pem, err := os.ReadFile(file)
			if err != nil {
				return nil, fmt.Errorf("http.tls.clientcas: %w", err)
			}
			if !config.ClientCAs.AppendCertsFromPEM(pem) {
				return nil, fmt.Errorf("http.tls.clientcas: %s has no certificate", file)
			}
		}
	}
	config.NextProtos = []string{"http/1.1"}
	if options.HTTP2 {
		config.NextProtos = []string{"h2", "http/1.1"}
	}
	return config, nil
}

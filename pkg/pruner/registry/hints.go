package registry

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"strings"
)

// hint tells what usually helps against an error of a connection.
func hint(err error) string {
	var dns *net.DNSError
	var timeout net.Error
	switch {
	case isCertificate(err):
		return " (give the authority of the registry with --certificate-authority)"
	case isPlainHTTP(err):
		return " (the registry speaks plain HTTP: give an http:// address, or --force-insecure)"
	case errors.As(err, &dns), errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return " (outside the cluster, give an address that can be reached with --registry-url)"
	}
	return ""
}

func isCertificate(err error) bool {
	var verification *tls.CertificateVerificationError
	var unknown x509.UnknownAuthorityError
	var hostname x509.HostnameError
	var invalid x509.CertificateInvalidError
	return errors.As(err, &verification) || errors.As(err, &unknown) || errors.As(err, &hostname) || errors.As(err, &invalid)
}

func isPlainHTTP(err error) bool {
	var record tls.RecordHeaderError
	return errors.As(err, &record) || err != nil && strings.Contains(err.Error(), "server gave HTTP response to HTTPS client")
}

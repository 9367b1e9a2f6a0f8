package remote

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/url"
	"strings"
	"syscall"
)

// plainHTTPText is what a TLS handshake with a server of plain HTTP ends in.
const plainHTTPText = "server gave HTTP response to HTTPS client"

// networkError turns what the network reported into a sentence that is the same every time: without
// addresses, local ports and URLs, which may hold the signatures of other services.
func networkError(ctx context.Context, host string, err error) *Error {
	var known *Error
	if errors.As(err, &known) {
		return known
	}
	if ctx.Err() != nil {
		return interrupted(ctx, host)
	}
	var inURL *url.Error
	if errors.As(err, &inURL) {
		err = inURL.Err
	}
	kind, text := Network, networkText(err)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() || errors.Is(err, context.DeadlineExceeded) {
		kind, text = Timeout, "no answer in time"
	}
	return &Error{Kind: kind, Host: host, Message: "registry " + host + ": " + text, cause: err}
}

func networkText(err error) string {
	var lookup *net.DNSError
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var verification *tls.CertificateVerificationError
	switch {
	case errors.As(err, &lookup) && lookup.IsNotFound:
		return "the host name is not known"
	case errors.As(err, &lookup):
		return "the host name cannot be resolved"
	case errors.As(err, &unknown):
		return "its certificate is signed by an authority that is not trusted"
	case errors.As(err, &name):
		return "its certificate is for another host"
	case errors.As(err, &invalid):
		return "its certificate is not valid"
	case errors.As(err, &verification):
		return "its certificate cannot be verified"
	case isPlainHTTP(err):
		return "it speaks plain HTTP, which only insecure registries may"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "the connection is refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.EPIPE):
		return "the connection broke"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "the network is not reachable"
	}
	return "the connection failed"
}

func isPlainHTTP(err error) bool {
	var record tls.RecordHeaderError
	return errors.As(err, &record) || err != nil && strings.Contains(err.Error(), plainHTTPText)
}

// permanent tells whether trying again at once cannot help.
func permanent(err error) bool {
	var lookup *net.DNSError
	var verification *tls.CertificateVerificationError
	return KindOf(err) != Network || isPlainHTTP(errors.Unwrap(err)) || errors.As(err, &verification) ||
		errors.As(err, &lookup) && lookup.IsNotFound
}

// interrupted is the error of a request whose caller's time ran out, or who left.
func interrupted(ctx context.Context, host string) *Error {
	text := "no answer in time"
	if errors.Is(ctx.Err(), context.Canceled) {
		text = "the request was cancelled"
	}
	return &Error{Kind: Timeout, Host: host, Message: "registry " + host + ": " + text, cause: ctx.Err()}
}

package options

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/pflag"
)

// Registry are the settings of the connection to the registry, the same for every command that has one.
type Registry struct {
	// RegistryURL is its address; empty means that it is looked up.
	RegistryURL string
	// CertificateAuthority is a PEM file that is trusted besides the system and the kubeconfig.
	CertificateAuthority string
	// ForceInsecure allows plain HTTP and certificates that nobody vouches for.
	ForceInsecure bool
	// TokenFile holds the token for the registry; ServiceAccount, "namespace/name", is whose token is
	// requested. With neither, the token of the kubeconfig is used.
	TokenFile      string
	ServiceAccount string

	address *url.URL
	scheme  bool
}

func (r *Registry) addFlags(flags *pflag.FlagSet) {
	flags.StringVar(&r.RegistryURL, "registry-url", r.RegistryURL, "address of the registry: host, host:port or an http(s) URL without a path")
	flags.StringVar(&r.CertificateAuthority, "certificate-authority", r.CertificateAuthority, "PEM file with authorities to trust for the registry")
	flags.BoolVar(&r.ForceInsecure, "force-insecure", r.ForceInsecure, "allow plain HTTP and unverifiable TLS to the registry")
	flags.StringVar(&r.TokenFile, "registry-token-file", r.TokenFile, "file with the token for the registry, read again for every request")
	flags.StringVar(&r.ServiceAccount, "as-service-account", r.ServiceAccount, "namespace/name of the ServiceAccount whose token the registry gets; you must be allowed to request it")
}

// Validate checks everything that can be checked without a request and completes r. Each error names its
// flag.
func (r *Registry) Validate() error {
	r.address, r.scheme = nil, strings.Contains(r.RegistryURL, "://")
	switch {
	case r.ForceInsecure && r.CertificateAuthority != "":
		return errors.New("--force-insecure and --certificate-authority exclude each other")
	case r.TokenFile != "" && r.ServiceAccount != "":
		return errors.New("--registry-token-file and --as-service-account exclude each other")
	case r.ServiceAccount != "" && !isObjectName(r.ServiceAccount):
		return fmt.Errorf("--as-service-account: %q is not of the form namespace/name", r.ServiceAccount)
	}
	if r.RegistryURL != "" {
		parsed, err := ParseRegistryURL(r.RegistryURL)
		if err != nil {
			return fmt.Errorf("--registry-url: %w", err)
		}
		r.address = parsed
	}
	return r.validateAuthority()
}

func (r *Registry) validateAuthority() error {
	if r.CertificateAuthority == "" {
		return nil
	}
	if r.address != nil && r.address.Scheme == "http" {
		return errors.New("--certificate-authority has no use with an http:// --registry-url")
	}
	pem, err := os.ReadFile(r.CertificateAuthority)
	if err != nil {
		return fmt.Errorf("--certificate-authority: %w", err)
	}
	if !x509.NewCertPool().AppendCertsFromPEM(pem) {
		return fmt.Errorf("--certificate-authority: %s holds no certificate", r.CertificateAuthority)
	}
	return nil
}

// Address returns the given address after Validate, nil if none was given, and whether its scheme was
// given, too.
func (r *Registry) Address() (address *url.URL, withScheme bool) { return r.address, r.scheme }

// addMinAgeOfRegistry adds the hidden flag with which tests collect what a registry that was configured
// for them takes for old.
func addMinAgeOfRegistry(flags *pflag.FlagSet, value *bool) {
	flags.BoolVar(value, "min-age-of-registry", *value, "leave the age below which nothing is collected to the configuration of the registry")
	_ = flags.MarkHidden("min-age-of-registry")
}

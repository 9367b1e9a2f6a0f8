package options

import (
	"fmt"

	"github.com/spf13/pflag"
)

// unavailable are documented flags that this version cannot honour. They are known, so that whoever gives
// one reads that and does not look for a typing mistake.
type unavailable struct {
	overSizeLimit     bool
	registryTokenFile string
	asServiceAccount  string
	metricsPushURL    string
}

func (u *unavailable) addFlags(flags *pflag.FlagSet) {
	const later = " (not available in this version)"
	flags.BoolVar(&u.overSizeLimit, "prune-over-size-limit", false, "prune images that exceed the limits of their namespace, whatever their age"+later)
	flags.StringVar(&u.registryTokenFile, "registry-token-file", "", "file with the token for the registry"+later)
	flags.StringVar(&u.asServiceAccount, "as-service-account", "", "namespace/name of the ServiceAccount whose token the registry gets"+later)
	flags.StringVar(&u.metricsPushURL, "metrics-push-url", "", "address of a Pushgateway"+later)
}

func (u *unavailable) validate() error {
	switch {
	case u.overSizeLimit:
		return notAvailable("prune-over-size-limit")
	case u.registryTokenFile != "":
		return notAvailable("registry-token-file")
	case u.asServiceAccount != "":
		return notAvailable("as-service-account")
	case u.metricsPushURL != "":
		return notAvailable("metrics-push-url")
	}
	return nil
}

func notAvailable(flag string) error {
	return fmt.Errorf("--%s is not available in this version", flag)
}

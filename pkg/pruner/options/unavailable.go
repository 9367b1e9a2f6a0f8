package options

import (
	"fmt"

	"github.com/spf13/pflag"
)

// unavailable are documented flags that this version cannot honour. They are known, so that whoever gives
// one reads that and does not look for a typing mistake.
type unavailable struct {
	metricsPushURL string
}

func (u *unavailable) addFlags(flags *pflag.FlagSet) {
	const later = " (not available in this version)"
	flags.StringVar(&u.metricsPushURL, "metrics-push-url", "", "address of a Pushgateway"+later)
}

func (u *unavailable) validate() error {
	switch {
	case u.metricsPushURL != "":
		return notAvailable("metrics-push-url")
	}
	return nil
}

func notAvailable(flag string) error {
	return fmt.Errorf("--%s is not available in this version", flag)
}

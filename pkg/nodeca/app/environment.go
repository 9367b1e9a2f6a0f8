package app

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"image.alauda.io/registry/pkg/nodeca/agent"
)

// fromEnvironment reads the settings; what is not set keeps its default.
func fromEnvironment(lookup func(string) (string, bool)) (agent.Options, error) {
	options := agent.Defaults()
	var problems []error
	text := func(name string, target *string) {
		if value, ok := lookup(name); ok {
			*target = value
		}
	}
	flag := func(name string, target *bool) {
		if value, ok := lookup(name); ok && value != "" {
			parsed, err := strconv.ParseBool(value)
			if err != nil {
				problems = append(problems, fmt.Errorf("%s=%q is neither true nor false", name, value))
				return
			}
			*target = parsed
		}
	}
	if value, ok := lookup("NODE_CA_MODE"); ok && value != "" {
		options.Mode = agent.Mode(value)
	}
	text("NODE_NAME", &options.NodeName)
	text("NODE_IPS", &options.NodeIPs)
	text("NODE_CA_HOST_ETC", &options.HostEtc)
	text("NODE_CA_METRICS_ADDR", &options.MetricsAddr)
	text("NODE_CA_LOG_LEVEL", &options.LogLevel)
	text("NODE_CA_CERTIFICATES_DIR", &options.CertificatesDir)
	text("NODE_CA_CONFIG_DIR", &options.ConfigDir)
	text("NODE_CA_STATE_DIR", &options.StateDir)
	flag("NODE_CA_HOSTS", &options.ManageHosts)
	flag("NODE_CA_STRICT", &options.Strict)
	if value, ok := lookup("NODE_CA_ROOTS"); ok && value != "" && value != "auto" {
		for root := range strings.SplitSeq(value, ",") {
			options.Roots = append(options.Roots, strings.TrimSpace(root))
		}
	}
	if value, ok := lookup("NODE_CA_RESYNC"); ok && value != "" {
		parsed, err := time.ParseDuration(value)
		if err != nil {
			problems = append(problems, fmt.Errorf("NODE_CA_RESYNC=%q is not a duration", value))
		} else {
			options.Resync = parsed
		}
	}
	return options, errors.Join(problems...)
}

package server

import (
	_ "embed"
	"errors"
	"fmt"
	"os"

	genericapiserver "k8s.io/apiserver/pkg/server"
	genericoptions "k8s.io/apiserver/pkg/server/options"
)

// defaultAuditPolicy applies when an audit log is asked for without a policy.
//
//go:embed audit-policy.yaml
var defaultAuditPolicy []byte

// applyAudit sets up the audit log, which is off unless --audit-log-path ("-" for the standard output) or
// --audit-webhook-config-file asks for it. The library would then record nothing without a policy file; here
// the default policy takes its place.
func applyAudit(options genericoptions.AuditOptions, config *genericapiserver.Config) (err error) {
	wanted := options.LogOptions.Path != "" || options.WebhookOptions.ConfigFile != ""
	if !wanted || options.PolicyFile != "" {
		return options.ApplyTo(config)
	}
	// The library reads policies from files only.
	file, err := os.CreateTemp("", "audit-policy-*.yaml")
	if err != nil {
		return fmt.Errorf("default audit policy: %w", err)
	}
	defer func() { err = errors.Join(err, os.Remove(file.Name())) }()
	if _, err := file.Write(defaultAuditPolicy); err != nil {
		return fmt.Errorf("default audit policy: %w", errors.Join(err, file.Close()))
	}
	if err := file.Close(); err != nil {
		return fmt.Errorf("default audit policy: %w", err)
	}
	options.PolicyFile = file.Name()
	return options.ApplyTo(config)
}

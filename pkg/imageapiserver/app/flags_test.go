package app

import (
	"regexp"
	"testing"
)

// The flags that the Deployment and the documentation rely on, with their defaults.
func TestFlagsHaveTheirDefaults(t *testing.T) {
	flags := newCommand().Flags()
	for name, want := range map[string]string{
		"image-storage":                    "crd",
		"storage-compression":              "true",
		"config":                           "/etc/image-api-server/config.yaml",
		"secure-port":                      "8443",
		"tls-cert-file":                    "/var/run/serving-cert/tls.crt",
		"tls-private-key-file":             "/var/run/serving-cert/tls.key",
		"webhook-port":                     "9443",
		"controllers":                      "[*]",
		"leader-elect":                     "true",
		"shutdown-delay-duration":          "20s",
		"shutdown-send-retry-after":        "true",
		"max-requests-inflight":            "800",
		"max-mutating-requests-inflight":   "400",
		"request-timeout":                  "1m0s",
		"min-request-timeout":              "1800",
		"http2-max-streams-per-connection": "1000",
		"authentication-kubeconfig":        "",
		"authorization-kubeconfig":         "",
		"kubeconfig":                       "",
		"etcd-prefix":                      "/registry/image.alauda.io",
		"etcd-servers":                     "[]",
		"etcd-compaction-interval":         "5m0s",
		"encryption-provider-config":       "",
		"enable-priority-and-fairness":     "true",
		"audit-log-path":                   "",
		"audit-policy-file":                "",
		"disable-admission-plugins":        "[]",
		"egress-selector-config-file":      "",
		"tracing-config-file":              "",
		"feature-gates":                    "",
		"v":                                "2",
	} {
		flag := flags.Lookup(name)
		if flag == nil {
			t.Errorf("there is no flag --%s", name)
			continue
		}
		if flag.DefValue != want {
			t.Errorf("--%s is %q by default, want %q", name, flag.DefValue, want)
		}
		if !regexp.MustCompile(`\w`).MatchString(flag.Usage) {
			t.Errorf("--%s has no help", name)
		}
	}
}

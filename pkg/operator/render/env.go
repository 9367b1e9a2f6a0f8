package render

import (
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/storage"
)

// Scalar writes a value as a YAML scalar that the registry reads back as the same string.
func Scalar(value string) string { return storage.Scalar(value) }

// RegistryEnv is the environment of container registry, in a fixed order.
func RegistryEnv(in Inputs) ([]corev1.EnvVar, error) {
	spec := in.Config.Spec
	env := append([]corev1.EnvVar{}, in.Storage.Env...)
	add := func(name, value string) { env = append(env, corev1.EnvVar{Name: name, Value: value}) }
	add("REGISTRY_HTTP_ADDR", ":5000")
	add("REGISTRY_HTTP_NET", "tcp")
	env = append(env, corev1.EnvVar{Name: registryv1.KeyHTTPSecret, ValueFrom: &corev1.EnvVarSource{
		SecretKeyRef: &corev1.SecretKeySelector{
			LocalObjectReference: corev1.LocalObjectReference{Name: registryv1.SecretPrivateConfig},
			Key:                  registryv1.KeyHTTPSecret,
		},
	}})
	add("REGISTRY_HTTP_TLS_CERTIFICATE", "/etc/secrets/tls.crt")
	add("REGISTRY_HTTP_TLS_KEY", "/etc/secrets/tls.key")
	add("REGISTRY_LOG_LEVEL", registryLogLevel(spec))
	add("REGISTRY_HEALTH_STORAGEDRIVER_ENABLED", "true")
	add("REGISTRY_HEALTH_STORAGEDRIVER_INTERVAL", "10s")
	add("REGISTRY_HEALTH_STORAGEDRIVER_THRESHOLD", "3")
	if spec.ReadOnly {
		add("REGISTRY_STORAGE_MAINTENANCE_READONLY", "{enabled: true}")
	}
	if spec.DisableRedirect {
		add("REGISTRY_STORAGE_REDIRECT_DISABLE", "true")
	}
	add("REGISTRY_ALAUDA_SERVER_ADDR", in.InternalHost())
	if len(in.ExternalHosts) > 0 {
		hosts, err := flow(in.ExternalHosts)
		if err != nil {
			return nil, fmt.Errorf("external hosts: %w", err)
		}
		add("REGISTRY_ALAUDA_SERVER_ADDITIONALHOSTS", hosts)
	}
	add("REGISTRY_ALAUDA_METRICS_ENABLED", "true")
	add("REGISTRY_ALAUDA_QUOTA_ENABLED", "true")
	add("REGISTRY_ALAUDA_AUTH_AUDIENCE", Scalar(TokenAudience(spec)))
	if err := in.checkOIDC(); err != nil {
		return nil, err
	}
	env = append(env, oidcEnv(in.OIDC)...)
	env = append(env, requestsEnv(spec.Requests)...)
	through, err := in.pullThroughEnv()
	if err != nil {
		return nil, err
	}
	env = append(env, through...)
	proxy, err := in.proxyEnv()
	if err != nil {
		return nil, err
	}
	env = append(env, proxy...)
	add("SSL_CERT_DIR", "/etc/ssl/certs:/var/run/configmaps/trusted-ca:/var/run/configmaps/storage-ca")
	return env, nil
}

// literal protects values from the kubelet, which replaces $(NAME) by the value of another variable, secrets
// among them, and $$ by $. The one reference that is meant stays.
func literal(env []corev1.EnvVar) []corev1.EnvVar {
	out := slices.Clone(env)
	for i := range out {
		before, after, meant := strings.Cut(out[i].Value, serviceHost)
		if out[i].Value = dollars(out[i].Value); meant && out[i].Name == "NO_PROXY" {
			out[i].Value = dollars(before) + serviceHost + dollars(after)
		}
	}
	return out
}

func dollars(value string) string { return strings.ReplaceAll(value, "$", "$$") }

// serviceHost is the address of the API server, which each Pod knows.
const serviceHost = "$(KUBERNETES_SERVICE_HOST)"

// TokenAudience is the audience of pull tokens, which the registry must accept; empty means the API
// server's own.
func TokenAudience(spec registryv1.ConfigSpec) string {
	if spec.ImagePullSecret.TokenAudience == nil {
		return registryv1.DefaultTokenAudience
	}
	return *spec.ImagePullSecret.TokenAudience
}

func registryLogLevel(spec registryv1.ConfigSpec) string {
	switch spec.LogLevel {
	case registryv1.LogDebug, registryv1.LogTrace, registryv1.LogTraceAll:
		return "debug"
	}
	switch spec.Logging {
	case 1:
		return "warn"
	case 0, 2, 3:
		return "info"
	default:
		return "debug"
	}
}

// Verbosity maps a log level to the klog scale.
func Verbosity(level registryv1.LogLevel) int {
	switch level {
	case registryv1.LogDebug:
		return 4
	case registryv1.LogTrace:
		return 6
	case registryv1.LogTraceAll:
		return 8
	default:
		return 2
	}
}

func oidcEnv(oidc registryv1.OIDCSpec) []corev1.EnvVar {
	if oidc.IssuerURL == "" {
		return nil
	}
	const prefix = "REGISTRY_ALAUDA_AUTH_OIDC_"
	env := []corev1.EnvVar{
		{Name: prefix + "ISSUERURL", Value: Scalar(oidc.IssuerURL)},
		{Name: prefix + "CLIENTID", Value: Scalar(oidc.ClientID)},
	}
	if oidc.CAConfigMap != "" {
		env = append(env, corev1.EnvVar{Name: prefix + "CAFILE", Value: "/etc/image-registry/oidc/ca.crt"})
	}
	for _, optional := range []struct{ name, value string }{
		{"USERNAMECLAIM", oidc.UsernameClaim}, {"USERNAMEPREFIX", oidc.UsernamePrefix},
		{"GROUPSCLAIM", oidc.GroupsClaim}, {"GROUPSPREFIX", oidc.GroupsPrefix},
	} {
		if optional.value != "" {
			env = append(env, corev1.EnvVar{Name: prefix + optional.name, Value: Scalar(optional.value)})
		}
	}
	return env
}

func requestsEnv(requests registryv1.RequestsSpec) []corev1.EnvVar {
	var env []corev1.EnvVar
	for _, direction := range []struct {
		name   string
		limits registryv1.RequestLimits
	}{{"READ", requests.Read}, {"WRITE", requests.Write}} {
		if direction.limits.MaxRunning == 0 && direction.limits.MaxInQueue == 0 {
			continue
		}
		prefix := "REGISTRY_ALAUDA_REQUESTS_" + direction.name + "_"
		env = append(env,
			corev1.EnvVar{Name: prefix + "MAXRUNNING", Value: strconv.Itoa(int(direction.limits.MaxRunning))},
			corev1.EnvVar{Name: prefix + "MAXINQUEUE", Value: strconv.Itoa(int(direction.limits.MaxInQueue))},
			corev1.EnvVar{Name: prefix + "MAXWAITINQUEUE", Value: direction.limits.MaxWaitInQueue.Duration.String()})
	}
	return env
}

// pullThroughEnv hands the registry those import settings that pull-through must follow as well.
func (in Inputs) pullThroughEnv() ([]corev1.EnvVar, error) {
	config := in.Config.Spec.ImageAPI.Config
	if config == nil {
		return nil, nil
	}
	if _, err := in.apiServerText(); err != nil {
		return nil, err
	}
	settings, err := rawObject(config)
	if err != nil {
		return nil, refuse("spec.imageAPI.config: %v", err)
	}
	imports, _ := settings["imageImport"].(map[string]any)
	var env []corev1.EnvVar
	for _, key := range []string{"mirrors", "deniedCIDRs", "allowedHosts"} {
		value, ok := imports[key]
		if !ok {
			continue
		}
		text, err := flow(value)
		if err != nil {
			return nil, fmt.Errorf("spec.imageAPI.config.imageImport.%s: %w", key, err)
		}
		env = append(env, corev1.EnvVar{Name: "REGISTRY_ALAUDA_PULLTHROUGH_" + strings.ToUpper(key), Value: text})
	}
	return env, nil
}

// flow writes a value in YAML's one-line form; JSON is such a form.
func flow(value any) (string, error) {
	text, err := yaml.Marshal(value)
	if err != nil {
		return "", err
	}
	asJSON, err := yaml.YAMLToJSON(text)
	return string(asJSON), err
}

// proxyEnv is empty unless a proxy is set. The cluster's own addresses never go through it: calls to the API
// server would, and neither do those of further hosts.
func (in Inputs) proxyEnv(further ...string) ([]corev1.EnvVar, error) {
	proxy, err := in.proxy()
	if err != nil {
		return nil, err
	}
	var env []corev1.EnvVar
	if proxy.HTTP != "" {
		env = append(env, corev1.EnvVar{Name: "HTTP_PROXY", Value: proxy.HTTP})
	}
	if proxy.HTTPS != "" {
		env = append(env, corev1.EnvVar{Name: "HTTPS_PROXY", Value: proxy.HTTPS})
	}
	if len(env) == 0 {
		return nil, nil
	}
	wanted := []string{"localhost", "127.0.0.1", ".svc", ".svc." + in.ClusterDomain, "." + in.ClusterDomain, serviceHost}
	return append(env, corev1.EnvVar{Name: "NO_PROXY", Value: joinUnique(strings.Split(proxy.NoProxy, ","), wanted, further)}), nil
}

func joinUnique(lists ...[]string) string {
	seen := map[string]bool{"": true}
	var out []string
	for _, values := range lists {
		for _, value := range values {
			value = strings.TrimSpace(value)
			if !seen[value] {
				seen[value] = true
				out = append(out, value)
			}
		}
	}
	return strings.Join(out, ",")
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return keys
}

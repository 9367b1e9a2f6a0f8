package controlplane

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Kubeconfig is the path of the administrator's kubeconfig.
func (cp *ControlPlane) Kubeconfig() string { return cp.file("admin.kubeconfig") }

// RestConfigFor returns a client configuration that authenticates as the user, a member of the groups
// (and of system:authenticated), by client certificate. The user has only the rights that the test
// grants. It panics when a certificate cannot be signed, which needs a broken random source.
func (cp *ControlPlane) RestConfigFor(user string, groups ...string) *rest.Config {
	config, err := cp.clientConfig(cp.Config.Host, user, groups...)
	if err != nil {
		panic(fmt.Sprintf("client certificate for %s: %v", user, err))
	}
	return config
}

// WriteKubeconfig stores a client configuration as a kubeconfig file and returns its path.
func (cp *ControlPlane) WriteKubeconfig(name string, config *rest.Config) (string, error) {
	file := name + ".kubeconfig"
	return cp.file(file), cp.writeKubeconfig(file, config)
}

func (cp *ControlPlane) clientConfig(host, user string, groups ...string) (*rest.Config, error) {
	issued, err := cp.clientCA.issue(pkix.Name{CommonName: user, Organization: groups}, x509.ExtKeyUsageClientAuth)
	if err != nil {
		return nil, err
	}
	return &rest.Config{
		Host: host,
		QPS:  -1,
		TLSClientConfig: rest.TLSClientConfig{
			CAData:   cp.clientCA.pem,
			CertData: issued.cert,
			KeyData:  issued.key,
		},
	}, nil
}

func (cp *ControlPlane) writeKubeconfig(file string, config *rest.Config) error {
	const name = "test"
	return clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters: map[string]*clientcmdapi.Cluster{name: {
			Server:                   config.Host,
			CertificateAuthorityData: config.CAData,
		}},
		AuthInfos: map[string]*clientcmdapi.AuthInfo{name: {
			ClientCertificateData: config.CertData,
			ClientKeyData:         config.KeyData,
			Token:                 config.BearerToken,
		}},
		Contexts:       map[string]*clientcmdapi.Context{name: {Cluster: name, AuthInfo: name}},
		CurrentContext: name,
	}, cp.file(file))
}

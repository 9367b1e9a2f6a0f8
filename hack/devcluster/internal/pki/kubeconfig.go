package pki

import (
	"fmt"
	"os"

	"sigs.k8s.io/yaml"
)

type kubeconfig struct {
	APIVersion string         `json:"apiVersion"`
	Kind       string         `json:"kind"`
	Clusters   []namedCluster `json:"clusters"`
	Users      []namedUser    `json:"users"`
	Contexts   []namedContext `json:"contexts"`
	Current    string         `json:"current-context"`
}

type namedCluster struct {
	Name    string `json:"name"`
	Cluster struct {
		Server string `json:"server"`
		CA     []byte `json:"certificate-authority-data"`
	} `json:"cluster"`
}

type namedUser struct {
	Name string `json:"name"`
	User struct {
		Cert []byte `json:"client-certificate-data"`
		Key  []byte `json:"client-key-data"`
	} `json:"user"`
}

type namedContext struct {
	Name    string `json:"name"`
	Context struct {
		Cluster string `json:"cluster"`
		User    string `json:"user"`
	} `json:"context"`
}

// WriteKubeconfig writes a kubeconfig that needs no other file, for the pair
// called name and the API server at server.
func (a *Authority) WriteKubeconfig(path, name, server string) error {
	const cluster = "devcluster"
	files := map[string][]byte{a.Name + ".crt": nil, name + ".crt": nil, name + ".key": nil}
	for f := range files {
		b, err := os.ReadFile(a.file(f))
		if err != nil {
			return fmt.Errorf("kubeconfig %s: %w", path, err)
		}
		files[f] = b
	}
	k := kubeconfig{APIVersion: "v1", Kind: "Config", Current: cluster,
		Clusters: make([]namedCluster, 1), Users: make([]namedUser, 1), Contexts: make([]namedContext, 1)}
	k.Clusters[0].Name = cluster
	k.Clusters[0].Cluster.Server, k.Clusters[0].Cluster.CA = server, files[a.Name+".crt"]
	k.Users[0].Name = name
	k.Users[0].User.Cert, k.Users[0].User.Key = files[name+".crt"], files[name+".key"]
	k.Contexts[0].Name = cluster
	k.Contexts[0].Context.Cluster, k.Contexts[0].Context.User = cluster, name
	b, err := yaml.Marshal(k)
	if err != nil {
		return fmt.Errorf("kubeconfig %s: %w", path, err)
	}
	return writeFile(path, b, 0o600)
}

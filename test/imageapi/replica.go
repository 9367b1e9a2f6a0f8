package imageapi

import (
	"context"
	"fmt"
	"net"
	"testing"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	imageclient "image.alauda.io/client-go/clientset/versioned"
	"image.alauda.io/registry/manifests"
	"image.alauda.io/registry/test/controlplane"
)

// Replica is one of several servers that a test starts and stops itself.
type Replica struct {
	// Port is where it listens on 127.0.0.1.
	Port int
	// Config reaches the replica without kube-apiserver, as an administrator. It trusts the serving
	// certificates of package controlplane.
	Config *rest.Config

	stop func()
}

// Stop asks the replica to shut down, as a termination signal does, and waits until it has ended.
func (r *Replica) Stop() { r.stop() }

// Prepare installs what servers need and starts none. Replica and Register do the rest.
func Prepare(t testing.TB, cp *controlplane.ControlPlane) *Server {
	t.Helper()
	s := &Server{CP: cp, Kube: kubernetes.NewForConfigOrDie(cp.Config), Images: imageclient.NewForConfigOrDie(cp.Config), stop: func() {}}
	CreateNamespace(t, s.Kube, SystemNamespace)
	for _, file := range []string{"rbac.yaml", "crd-storedimages.yaml", "crd-storedimagestreams.yaml"} {
		Apply(t, cp.Config, manifests.ImageAPIServer, file)
	}
	return s
}

// Replica runs one server until the test ends or it is stopped, and waits until it is ready. Flags come after
// those that every test needs.
func (s *Server) Replica(t testing.TB, flags ...string) *Replica {
	t.Helper()
	one := &Server{CP: s.CP, Kube: s.Kube, Images: s.Images}
	r := &Replica{Port: one.run(t, flags), Config: s.CP.RestConfigFor("admin", "system:masters")}
	r.stop = one.stop
	_, _, ca := s.CP.ServingCert(t, "unused")
	r.Config.Host, r.Config.CAData = fmt.Sprintf("https://127.0.0.1:%d", r.Port), ca
	Eventually(t, "the replica is ready", r.Ready)
	return r
}

// Ready asks a replica whether it is ready and knows clients. Each time the connection is a new one: those
// made before the server knew who may vouch for clients stay anonymous.
func (r *Replica) Ready(ctx context.Context) error {
	fresh := rest.CopyConfig(r.Config)
	fresh.Dial = (&net.Dialer{}).DialContext
	client, err := kubernetes.NewForConfig(fresh)
	if err != nil {
		return err
	}
	if _, err := client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx); err != nil {
		return err
	}
	_, err = client.Discovery().RESTClient().Get().AbsPath("/apis/image.alauda.io/v1/images").Param("limit", "1").DoRaw(ctx)
	return err
}

// Register makes kube-apiserver proxy the API group to a port of this machine until the test ends, and waits
// until the API answers.
func (s *Server) Register(t testing.TB, port int) {
	t.Helper()
	s.register(t, port)
}

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	aggregatorclient "k8s.io/kube-aggregator/pkg/client/clientset_generated/clientset"
	"sigs.k8s.io/yaml"

	imageclient "image.alauda.io/client-go/clientset/versioned"
	"image.alauda.io/registry/manifests"
	"image.alauda.io/registry/test/bench/pruner/generate"
	"image.alauda.io/registry/test/bench/pruner/processes"
	"image.alauda.io/registry/test/controlplane"
	"image.alauda.io/registry/test/imageapi"
)

const (
	// patience bounds how long a server may take until it is ready.
	patience = 2 * time.Minute
	account  = "pruner"
	apiName  = "image-api-server"

	auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules:
- level: Metadata
  users: ["system:serviceaccount:` + imageapi.SystemNamespace + ":" + account + `"]
- level: None
`
)

// Served is what this program prints when everything is there.
type Served struct {
	Host, Token string
	CA          []byte
	// Audit is a file with a line for each request of the pruner.
	Audit string
	// PIDs are the servers, by name.
	PIDs map[string]int
}

// realCluster is a kube-apiserver with etcd and an image-api-server behind it, each a process.
type realCluster struct {
	*controlplane.ControlPlane
	cluster  *generate.Cluster
	kube     kubernetes.Interface
	imageAPI *exec.Cmd
	// Served is what the caller has to know.
	served Served
}

// startReal fills a new cluster.
func startReal(ctx context.Context, images int, directory string) (c *realCluster, err error) {
	policy := filepath.Join(directory, "policy.yaml")
	if err := os.WriteFile(policy, []byte(auditPolicy), 0o600); err != nil {
		return nil, err
	}
	c = &realCluster{cluster: generate.Large(images), served: Served{Audit: filepath.Join(directory, "audit.log")}}
	c.ControlPlane, err = controlplane.New(controlplane.WithAPIServerFlags("--audit-policy-file="+policy, "--audit-log-path="+c.served.Audit, "--audit-log-maxsize=0"))
	if err != nil {
		return nil, err
	}
	c.kube = kubernetes.NewForConfigOrDie(c.Config)
	for _, step := range []func(context.Context) error{c.install, c.fillRecords, c.fillWorkloads, c.startImageAPI, c.awaitContent, c.issueToken} {
		if err := step(ctx); err != nil {
			c.stop()
			return nil, err
		}
	}
	return c, nil
}

// install brings the roles and the record kinds, and the namespaces of the streams.
func (c *realCluster) install(ctx context.Context) error {
	names := []string{imageapi.SystemNamespace}
	for i := range generate.Namespaces {
		names = append(names, generate.Namespace(i))
	}
	for _, name := range names {
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if _, err := c.kube.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	for _, file := range []string{"rbac.yaml", "crd-storedimages.yaml", "crd-storedimagestreams.yaml"} {
		if err := imageapi.Install(ctx, c.Config, manifests.ImageAPIServer, file); err != nil {
			return err
		}
	}
	return imageapi.Install(ctx, c.Config, "image-pruner", "rbac.yaml")
}

// startImageAPI runs the server with the rights of its role.
func (c *realCluster) startImageAPI(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	kubeconfig, err := c.WriteKubeconfig(apiName, imageapi.ServiceAccountConfig(c.ControlPlane, apiName))
	if err != nil {
		return err
	}
	config := filepath.Join(c.Dir, apiName+".yaml")
	text := "apiVersion: config.image.alauda.io/v1\nkind: ImageAPIServerConfig\ninternalRegistryHostname: " + imageapi.InternalHost + "\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(c.Dir, apiName+".log"))
	if err != nil {
		return err
	}
	defer log.Close()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	port := listener.Addr().(*net.TCPAddr).Port
	if err := listener.Close(); err != nil {
		return err
	}
	certificate, key, authority, err := c.ServingCertIn(c.Dir, "localhost", "127.0.0.1", apiName+"."+imageapi.SystemNamespace+".svc")
	if err != nil {
		return err
	}
	// Nobody shall ask other registries, and nothing shall change but what the pruner changes.
	c.imageAPI = exec.CommandContext(ctx, self, imageAPIRole, "--config="+config, "--kubeconfig="+kubeconfig, "-v=0",
		"--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", port), "--tls-cert-file="+certificate, "--tls-private-key-file="+key,
		"--webhook-port=0", "--shutdown-delay-duration=0s", "--controllers=-image-import")
	c.imageAPI.Cancel = func() error { return c.imageAPI.Process.Signal(syscall.SIGTERM) }
	c.imageAPI.WaitDelay = 10 * time.Second
	c.imageAPI.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	c.imageAPI.Stdout, c.imageAPI.Stderr = log, log
	if err := c.imageAPI.Start(); err != nil {
		return err
	}
	return c.expose(ctx, port, authority)
}

// expose makes kube-apiserver lead the API group to a port of this machine.
func (c *realCluster) expose(ctx context.Context, port int, authority []byte) error {
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: apiName}, Spec: corev1.ServiceSpec{
		Type: corev1.ServiceTypeExternalName, ExternalName: "localhost",
		Ports: []corev1.ServicePort{{Port: int32(port), TargetPort: intstr.FromInt32(int32(port))}},
	}}
	if _, err := c.kube.CoreV1().Services(imageapi.SystemNamespace).Create(ctx, service, metav1.CreateOptions{}); err != nil {
		return err
	}
	data, err := manifests.Operand(manifests.ImageAPIServer, "apiservice.yaml")
	if err != nil {
		return err
	}
	registration := &apiregistrationv1.APIService{}
	if err := yaml.Unmarshal(data, registration); err != nil {
		return err
	}
	servicePort := int32(port)
	registration.Spec.Service.Port, registration.Spec.CABundle = &servicePort, authority
	_, err = aggregatorclient.NewForConfigOrDie(c.Config).ApiregistrationV1().APIServices().Create(ctx, registration, metav1.CreateOptions{})
	return err
}

// awaitContent waits until everything that was stored is served.
func (c *realCluster) awaitContent(ctx context.Context) error {
	client := imageclient.NewForConfigOrDie(c.Config).ImageV1()
	var last error
	err := wait.PollUntilContextTimeout(ctx, 200*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		images, err := client.Images().List(ctx, metav1.ListOptions{Limit: 1})
		streams, streamErr := client.ImageStreams("").List(ctx, metav1.ListOptions{Limit: 1})
		if last = errors.Join(err, streamErr); last == nil && (len(images.Items) != 1 || len(streams.Items) != 1) {
			last = errors.New("no images or no streams")
		}
		return last == nil, nil
	})
	if err != nil {
		text, _ := os.ReadFile(filepath.Join(c.Dir, apiName+".log"))
		return fmt.Errorf("the image API does not answer: %w: %s", errors.Join(err, last), text[max(0, len(text)-2000):])
	}
	c.served.PIDs, err = processes.Children("kube-apiserver", "etcd")
	if err == nil {
		c.served.PIDs[apiName] = c.imageAPI.Process.Pid
	}
	return err
}

// issueToken gives the pruner the rights of its ServiceAccount and nothing else.
func (c *realCluster) issueToken(ctx context.Context) error {
	issued, err := c.kube.CoreV1().ServiceAccounts(imageapi.SystemNamespace).CreateToken(ctx, account, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	c.served.Host, c.served.CA, c.served.Token = c.Config.Host, c.Config.CAData, issued.Status.Token
	return nil
}

// stop ends all servers.
func (c *realCluster) stop() {
	if c.imageAPI != nil && c.imageAPI.Process != nil {
		_ = c.imageAPI.Process.Signal(syscall.SIGTERM) // it may have ended by itself
		_ = c.imageAPI.Wait()                          // ended by a signal is no failure here
	}
	c.Stop()
}

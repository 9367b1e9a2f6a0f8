package cluster

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"time"

	"image.alauda.io/registry/hack/devcluster/internal/pki"
	"image.alauda.io/registry/hack/devcluster/internal/plan"
	"image.alauda.io/registry/hack/devcluster/internal/render"
	"image.alauda.io/registry/hack/devcluster/internal/supervise"
)

// writeCredentials makes the keys, certificates and kubeconfigs.
func (c *Cluster) writeCredentials(nodes []plan.Node) error {
	l := c.layout
	ca, err := pki.Open(l.PKI(), "ca", time.Now)
	if err != nil {
		return err
	}
	front, err := pki.Open(l.PKI(), "front-proxy-ca", time.Now)
	if err != nil {
		return err
	}
	if err := front.Ensure(pki.Request{Name: "front-proxy-client", User: "front-proxy-client"}); err != nil {
		return err
	}
	if err := pki.EnsureSigningKey(l.PKI(), "sa"); err != nil {
		return err
	}
	local := fmt.Sprintf("https://127.0.0.1:%d", plan.APIServerPort)
	bridge := fmt.Sprintf("https://%s:%d", plan.HostAddress, plan.APIServerPort)
	masters := []string{"system:masters"}
	type credential struct {
		pki.Request
		kubeconfig, server string
	}
	all := []credential{
		{pki.Request{Name: "apiserver", User: "kube-apiserver", Hosts: []string{"127.0.0.1", "localhost", plan.HostAddress, plan.APIService,
			"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc." + plan.ClusterDomain}}, "", ""},
		{pki.Request{Name: "apiserver-kubelet", User: "apiserver-kubelet", Groups: masters}, "", ""},
		{pki.Request{Name: "admin", User: "admin", Groups: masters}, l.Kubeconfig(), local},
		{pki.Request{Name: "controller-manager", User: "system:kube-controller-manager"}, l.PKIFile("controller-manager.kubeconfig"), local},
		{pki.Request{Name: "scheduler", User: "system:kube-scheduler"}, l.PKIFile("scheduler.kubeconfig"), local},
		{pki.Request{Name: "coredns", User: "system:coredns"}, l.PKIFile("coredns.kubeconfig"), local},
		{pki.Request{Name: "proxy", User: "system:kube-proxy"}, l.PKIFile("proxy.kubeconfig"), bridge},
	}
	for _, n := range nodes {
		all = append(all, credential{pki.Request{Name: n.Name(), User: "system:node:" + n.Name(), Groups: []string{"system:nodes"},
			Hosts: []string{n.Name(), n.Address()}}, l.PKIFile(n.Name() + ".kubeconfig"), bridge})
	}
	for _, r := range all {
		if err := ca.Ensure(r.Request); err != nil {
			return err
		}
		if r.kubeconfig == "" {
			continue
		}
		if err := ca.WriteKubeconfig(r.kubeconfig, r.Name, r.server); err != nil {
			return err
		}
	}
	return nil
}

// writeConfiguration writes every file that follows from the plan alone.
func (c *Cluster) writeConfiguration(want record, nodes []plan.Node) error {
	l := c.layout
	files := map[string]func() ([]byte, error){
		l.Conf("Corefile"):          func() ([]byte, error) { return render.Corefile(l) },
		l.Conf("manifests.yaml"):    func() ([]byte, error) { return render.Manifests(l) },
		l.Conf("audit-policy.yaml"): func() ([]byte, error) { return render.AuditPolicy(l) },
		l.Env():                     func() ([]byte, error) { return render.Env(l, fmt.Sprintf("127.0.0.1:%d", want.RegistryPort)) },
	}
	for _, n := range nodes {
		files[l.Node(n, "containerd.toml")] = func() ([]byte, error) { return render.Containerd(l, n) }
		files[l.Node(n, "kubelet.yaml")] = func() ([]byte, error) { return render.Kubelet(l, n) }
		files[l.Node(n, "kube-proxy.yaml")] = func() ([]byte, error) { return render.Proxy(l, n) }
		files[l.Node(n, "resolv.conf")] = func() ([]byte, error) { return []byte("nameserver " + plan.HostAddress + "\n"), nil }
	}
	for path, content := range files {
		b, err := content()
		if err != nil {
			return err
		}
		if err := writeFile(path, b, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// controlPlane lists what runs on the machine itself, in the order of starting.
func (c *Cluster) controlPlane(want record) []supervise.Spec {
	l := c.layout
	pkiFile := l.PKIFile
	return []supervise.Spec{
		{Name: "etcd", Args: render.Etcd(l), Inputs: []string{l.Stamp("etcd")}},
		{Name: "kube-apiserver", Args: render.APIServer(l), Inputs: []string{l.Stamp("kubernetes"), pkiFile("ca.crt"), pkiFile("apiserver.crt"),
			pkiFile("apiserver-kubelet.crt"), pkiFile("front-proxy-ca.crt"), pkiFile("front-proxy-client.crt"), pkiFile("sa.pub"), l.Conf("audit-policy.yaml")}},
		{Name: "kube-controller-manager", Args: render.ControllerManager(l), Inputs: []string{l.Stamp("kubernetes"), pkiFile("controller-manager.kubeconfig"), pkiFile("sa.key"), pkiFile("ca.crt")}},
		{Name: "kube-scheduler", Args: render.Scheduler(l), Inputs: []string{l.Stamp("kubernetes"), pkiFile("scheduler.kubeconfig")}},
		{Name: "coredns", Args: render.CoreDNS(l), Inputs: []string{l.Stamp("coredns"), l.Conf("Corefile"), pkiFile("coredns.kubeconfig")}},
		{Name: "provision", Args: []string{c.self(), "provision", "--repo", l.Repo}, Inputs: []string{c.self(), l.Kubeconfig()}},
		{Name: "forward", Args: []string{c.self(), "forward", "--repo", l.Repo, "--port", fmt.Sprint(want.RegistryPort)}, Inputs: []string{c.self(), l.Kubeconfig()}},
	}
}

// startControlPlane starts what runs on the machine itself.
func (c *Cluster) startControlPlane(ctx context.Context, want record) error {
	for _, spec := range c.controlPlane(want) {
		if err := c.ensure(spec); err != nil {
			return err
		}
		switch spec.Name {
		case "etcd", "kube-apiserver":
			if err := c.await(ctx, spec.Name, 90*time.Second, c.probes(want)[spec.Name]); err != nil {
				return err
			}
			c.say("%s answers", spec.Name)
		case "kube-scheduler":
			// What comes after it needs the first objects.
			if err := c.await(ctx, "kube-apiserver", 30*time.Second, c.apply); err != nil {
				return err
			}
		}
	}
	for _, name := range []string{"kube-controller-manager", "kube-scheduler", "coredns"} {
		if err := c.await(ctx, name, 60*time.Second, c.probes(want)[name]); err != nil {
			return err
		}
	}
	c.say("the control plane is ready")
	return nil
}

// apply puts the first objects into the cluster.
func (c *Cluster) apply(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, c.layout.Binary("kubectl"), "--kubeconfig", c.layout.Kubeconfig(),
		"apply", "--server-side", "--force-conflicts", "--field-manager=devcluster", "-f", c.layout.Conf("manifests.yaml"))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("apply the first objects: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// probes are the health checks of what runs on the machine itself.
func (c *Cluster) probes(want record) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"etcd":                    get(fmt.Sprintf("http://127.0.0.1:%d/health", plan.EtcdPort)),
		"kube-apiserver":          get(fmt.Sprintf("https://127.0.0.1:%d/readyz", plan.APIServerPort)),
		"kube-controller-manager": get(fmt.Sprintf("https://127.0.0.1:%d/healthz", plan.ControllersPort)),
		"kube-scheduler":          get(fmt.Sprintf("https://127.0.0.1:%d/healthz", plan.SchedulerPort)),
		"coredns":                 get(fmt.Sprintf("http://%s:%d/ready", plan.HostAddress, plan.DNSReadyPort)),
		"forward": func(ctx context.Context) error {
			return dial(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", want.RegistryPort))
		},
	}
}

// probeClient asks processes of this machine for nothing but their health, so
// their certificates are not looked at.
var probeClient = &http.Client{
	Timeout: 3 * time.Second,
	Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // see above
		DisableKeepAlives: true,
	},
}

func get(url string) func(context.Context) error {
	return func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		response, err := probeClient.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if _, err := io.Copy(io.Discard, response.Body); err != nil {
			return err
		}
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("%s answers %s", url, response.Status)
		}
		return nil
	}
}

func dial(ctx context.Context, network, address string) error {
	conn, err := (&net.Dialer{Timeout: 3 * time.Second}).DialContext(ctx, network, address)
	if err != nil {
		return err
	}
	return conn.Close()
}

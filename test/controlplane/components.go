package controlplane

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/client-go/rest"
)

// pollInterval is how often a starting process is asked whether it is ready.
const pollInterval = 100 * time.Millisecond

func (cp *ControlPlane) startEtcd(ctx context.Context) error {
	client, err := freePort()
	if err != nil {
		return err
	}
	peer, err := freePort()
	if err != nil {
		return err
	}
	cp.EtcdEndpoint = "http://127.0.0.1:" + client
	peerURL := "http://127.0.0.1:" + peer
	etcd, err := cp.run("etcd",
		"--name=test",
		"--data-dir="+filepath.Join(cp.Dir, "etcd"),
		"--listen-client-urls="+cp.EtcdEndpoint,
		"--advertise-client-urls="+cp.EtcdEndpoint,
		"--listen-peer-urls="+peerURL,
		"--initial-advertise-peer-urls="+peerURL,
		"--initial-cluster=test="+peerURL,
		"--unsafe-no-fsync=true",
		"--log-level=warn",
	)
	if err != nil {
		return err
	}
	return etcd.waitReady(ctx, http.DefaultClient, cp.EtcdEndpoint+"/health")
}

func (cp *ControlPlane) startAPIServer(ctx context.Context) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	flags := []string{
		"--etcd-servers=" + cp.EtcdEndpoint,
		"--bind-address=127.0.0.1",
		"--advertise-address=127.0.0.1",
		"--secure-port=" + port,
		"--endpoint-reconciler-type=none",
		"--tls-cert-file=" + cp.file("apiserver.crt"),
		"--tls-private-key-file=" + cp.file("apiserver.key"),
		"--client-ca-file=" + cp.file("ca.crt"),
		"--service-account-key-file=" + cp.file("sa.pub"),
		"--service-account-signing-key-file=" + cp.file("sa.key"),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--authorization-mode=RBAC",
		"--service-cluster-ip-range=198.18.240.0/20",
		"--allow-privileged=true",
		"--requestheader-client-ca-file=" + cp.FrontProxyCAFile,
		"--requestheader-allowed-names=" + FrontProxyName,
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--requestheader-group-headers=X-Remote-Group",
		"--requestheader-username-headers=X-Remote-User",
		"--requestheader-uid-headers=X-Remote-Uid",
		"--proxy-client-cert-file=" + cp.FrontProxyCertFile,
		"--proxy-client-key-file=" + cp.FrontProxyKeyFile,
	}
	server, err := cp.run("kube-apiserver", append(flags, cp.opts.apiServerFlags...)...)
	if err != nil {
		return err
	}
	cp.Config, err = cp.clientConfig("https://127.0.0.1:"+port, "admin", "system:masters")
	if err != nil {
		return err
	}
	if err := cp.writeKubeconfig("admin.kubeconfig", cp.Config); err != nil {
		return err
	}
	client, err := rest.HTTPClientFor(cp.Config)
	if err != nil {
		return err
	}
	return server.waitReady(ctx, client, cp.Config.Host+"/readyz")
}

func (cp *ControlPlane) startControllerManager() error {
	config, err := cp.clientConfig(cp.Config.Host, "system:kube-controller-manager")
	if err != nil {
		return err
	}
	if err := cp.writeKubeconfig("controller-manager.kubeconfig", config); err != nil {
		return err
	}
	_, err = cp.run("kube-controller-manager",
		"--kubeconfig="+cp.file("controller-manager.kubeconfig"),
		"--service-account-private-key-file="+cp.file("sa.key"),
		"--root-ca-file="+cp.file("ca.crt"),
		"--use-service-account-credentials=true",
		"--leader-elect=false",
		"--secure-port=0",
		"--kube-api-qps=500",
		"--kube-api-burst=1000",
		"--controllers="+strings.Join(cp.opts.controllers, ","),
	)
	return err
}

// run starts a program with its output in <dir>/<name>.log.
func (cp *ControlPlane) run(name string, args ...string) (*process, error) {
	p, err := startProcess(filepath.Join(cp.binDir, name), cp.file(name+".log"), args)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	cp.processes = append(cp.processes, p)
	return p, nil
}

func (cp *ControlPlane) file(name string) string { return filepath.Join(cp.Dir, name) }

// waitReady polls url until it answers 200, the process ends or the context does.
func (p *process) waitReady(ctx context.Context, client *http.Client, url string) error {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		if answers(ctx, client, url) {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s ended before it was ready; end of its log:\n%s", p.name, p.logTail())
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready after %s; end of its log:\n%s", p.name, startTimeout, p.logTail())
		case <-ticker.C:
		}
	}
}

func answers(ctx context.Context, client *http.Client, url string) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	response, err := client.Do(request)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode == http.StatusOK
}

// logTail returns the last 2 KiB that the process wrote.
func (p *process) logTail() string {
	content, err := os.ReadFile(p.logFile)
	if err != nil {
		return err.Error()
	}
	return string(content[max(0, len(content)-2048):])
}

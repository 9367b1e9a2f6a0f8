package render

import (
	"fmt"

	"image.alauda.io/registry/hack/devcluster/internal/plan"
)

// Etcd is etcd's command line.
func Etcd(l plan.Layout) []string {
	client := fmt.Sprintf("http://127.0.0.1:%d", plan.EtcdPort)
	peer := fmt.Sprintf("http://127.0.0.1:%d", plan.EtcdPeerPort)
	return []string{l.Binary("etcd"),
		"--data-dir=" + l.Etcd(),
		"--listen-client-urls=" + client,
		"--advertise-client-urls=" + client,
		"--listen-peer-urls=" + peer,
		"--initial-advertise-peer-urls=" + peer,
		"--initial-cluster=default=" + peer,
		// Losing the last writes when the machine loses power is fine here;
		// waiting for a slow disk on every write is not.
		"--unsafe-no-fsync",
	}
}

// APIServer is kube-apiserver's command line. It listens on every address of
// the machine because nodes reach it on the bridge and people on 127.0.0.1.
func APIServer(l plan.Layout) []string {
	return []string{l.Binary("kube-apiserver"),
		fmt.Sprintf("--etcd-servers=http://127.0.0.1:%d", plan.EtcdPort),
		"--advertise-address=" + plan.HostAddress,
		fmt.Sprintf("--secure-port=%d", plan.APIServerPort),
		"--tls-cert-file=" + l.PKIFile("apiserver.crt"),
		"--tls-private-key-file=" + l.PKIFile("apiserver.key"),
		"--client-ca-file=" + l.PKIFile("ca.crt"),
		"--service-account-key-file=" + l.PKIFile("sa.pub"),
		"--service-account-signing-key-file=" + l.PKIFile("sa.key"),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--authorization-mode=Node,RBAC",
		"--allow-privileged",
		"--service-cluster-ip-range=" + plan.ServiceRange,
		"--kubelet-certificate-authority=" + l.PKIFile("ca.crt"),
		"--kubelet-client-certificate=" + l.PKIFile("apiserver-kubelet.crt"),
		"--kubelet-client-key=" + l.PKIFile("apiserver-kubelet.key"),
		"--kubelet-preferred-address-types=InternalIP",
		"--enable-aggregator-routing",
		"--requestheader-client-ca-file=" + l.PKIFile("front-proxy-ca.crt"),
		"--requestheader-allowed-names=front-proxy-client",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--requestheader-group-headers=X-Remote-Group",
		"--requestheader-username-headers=X-Remote-User",
		"--proxy-client-cert-file=" + l.PKIFile("front-proxy-client.crt"),
		"--proxy-client-key-file=" + l.PKIFile("front-proxy-client.key"),
		// In batches, so that no request waits for the disk.
		"--audit-policy-file=" + l.Conf("audit-policy.yaml"),
		"--audit-log-path=" + l.Log("audit"),
		"--audit-log-mode=batch",
		"--audit-log-batch-max-size=400",
		"--audit-log-batch-max-wait=2s",
		"--audit-log-maxsize=100",
		"--audit-log-maxbackup=2",
	}
}

// ControllerManager is kube-controller-manager's command line.
func ControllerManager(l plan.Layout) []string {
	config := l.PKIFile("controller-manager.kubeconfig")
	return []string{l.Binary("kube-controller-manager"),
		"--kubeconfig=" + config,
		"--authentication-kubeconfig=" + config,
		"--authorization-kubeconfig=" + config,
		"--bind-address=127.0.0.1",
		fmt.Sprintf("--secure-port=%d", plan.ControllersPort),
		"--leader-elect=false",
		"--use-service-account-credentials",
		"--service-account-private-key-file=" + l.PKIFile("sa.key"),
		"--root-ca-file=" + l.PKIFile("ca.crt"),
		"--cluster-signing-cert-file=" + l.PKIFile("ca.crt"),
		"--cluster-signing-key-file=" + l.PKIFile("ca.key"),
		"--allocate-node-cidrs",
		"--cluster-cidr=" + plan.PodRange,
		fmt.Sprintf("--node-cidr-mask-size=%d", plan.PodPrefix),
		"--flex-volume-plugin-dir=" + l.Conf("flexvolume"),
	}
}

// Scheduler is kube-scheduler's command line.
func Scheduler(l plan.Layout) []string {
	config := l.PKIFile("scheduler.kubeconfig")
	return []string{l.Binary("kube-scheduler"),
		"--kubeconfig=" + config,
		"--authentication-kubeconfig=" + config,
		"--authorization-kubeconfig=" + config,
		"--bind-address=127.0.0.1",
		fmt.Sprintf("--secure-port=%d", plan.SchedulerPort),
		"--leader-elect=false",
	}
}

// CoreDNS is CoreDNS's command line.
func CoreDNS(l plan.Layout) []string {
	return []string{l.Binary("coredns"), "-conf", l.Conf("Corefile")}
}

// ContainerdCommand is the node's containerd, run inside the node.
func ContainerdCommand(l plan.Layout, n plan.Node) []string {
	return []string{l.Binary("containerd"), "--config", l.Node(n, "containerd.toml")}
}

// KubeletCommand is the node's kubelet, run inside the node.
func KubeletCommand(l plan.Layout, n plan.Node) []string {
	return []string{l.Binary("kubelet"),
		"--config=" + l.Node(n, "kubelet.yaml"),
		"--kubeconfig=" + l.PKIFile(n.Name()+".kubeconfig"),
		"--hostname-override=" + n.Name(),
		"--node-ip=" + n.Address(),
	}
}

// ProxyCommand is the node's kube-proxy, run inside the node.
func ProxyCommand(l plan.Layout, n plan.Node) []string {
	return []string{l.Binary("kube-proxy"), "--config=" + l.Node(n, "kube-proxy.yaml")}
}

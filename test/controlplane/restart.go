package controlplane

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"syscall"

	"k8s.io/client-go/rest"
)

// Restart kills programs of the control plane, as a machine that loses its power does, and starts them again
// at their addresses, in the given order. It returns when they are ready.
func (cp *ControlPlane) Restart(programs ...string) error {
	for _, name := range programs {
		p, err := cp.running(name)
		if err != nil {
			return err
		}
		_ = p.cmd.Process.Signal(syscall.SIGKILL) // fails only when it has ended
		<-p.done
	}
	for _, name := range programs {
		if err := cp.startAgain(name); err != nil {
			return err
		}
	}
	return nil
}

// restartAPIServer starts kube-apiserver anew at its old address. It reads its keys only at its start.
func (cp *ControlPlane) restartAPIServer() error {
	p, err := cp.running("kube-apiserver")
	if err != nil {
		return err
	}
	p.stop()
	return cp.startAgain("kube-apiserver")
}

func (cp *ControlPlane) running(name string) (*process, error) {
	at := slices.IndexFunc(cp.processes, func(p *process) bool { return filepath.Base(p.cmd.Path) == name })
	if at < 0 {
		return nil, fmt.Errorf("%s does not run", name)
	}
	return cp.processes[at], nil
}

// startAgain starts a program that has ended with the same command line and waits until it is ready.
func (cp *ControlPlane) startAgain(name string) error {
	former, err := cp.running(name)
	if err != nil {
		return err
	}
	restarted, err := startProcess(former.cmd.Path, former.logFile, former.cmd.Args[1:])
	if err != nil {
		return err
	}
	cp.processes[slices.Index(cp.processes, former)] = restarted
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	switch name {
	case "etcd":
		return restarted.waitReady(ctx, http.DefaultClient, cp.EtcdEndpoint+"/health")
	case "kube-apiserver":
		client, err := rest.HTTPClientFor(cp.Config)
		if err != nil {
			return err
		}
		return restarted.waitReady(ctx, client, cp.Config.Host+"/readyz")
	}
	return nil
}

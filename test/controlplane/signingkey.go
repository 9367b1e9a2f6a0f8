package controlplane

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"

	"k8s.io/client-go/rest"
)

// AddSigningKey makes kube-apiserver sign tokens with a new key; tokens of the former one stay valid.
func (cp *ControlPlane) AddSigningKey() error {
	former, err := os.ReadFile(cp.file("sa.pub"))
	if err != nil {
		return err
	}
	return cp.changeSigningKey(former)
}

// ReplaceSigningKey makes kube-apiserver sign tokens with a new key, and accept tokens of no other.
func (cp *ControlPlane) ReplaceSigningKey() error { return cp.changeSigningKey(nil) }

// changeSigningKey restarts kube-apiserver at its old address. It reads its keys only at its start.
func (cp *ControlPlane) changeSigningKey(accepted []byte) error {
	if err := cp.writeServiceAccountKeys(); err != nil {
		return err
	}
	current, err := os.ReadFile(cp.file("sa.pub"))
	if err != nil {
		return err
	}
	if err := os.WriteFile(cp.file("sa.pub"), append(current, accepted...), 0o600); err != nil {
		return err
	}
	at := slices.IndexFunc(cp.processes, func(p *process) bool { return filepath.Base(p.cmd.Path) == "kube-apiserver" })
	if at < 0 {
		return errors.New("kube-apiserver does not run")
	}
	former := cp.processes[at]
	former.stop()
	// The same command again: its flags name the files that were written above.
	restarted, err := startProcess(former.cmd.Path, former.logFile, former.cmd.Args[1:])
	if err != nil {
		return err
	}
	cp.processes[at] = restarted
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	client, err := rest.HTTPClientFor(cp.Config)
	if err != nil {
		return err
	}
	return restarted.waitReady(ctx, client, cp.Config.Host+"/readyz")
}

package controlplane

import (
	"context"
	"encoding/pem"
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
	if err := cp.writeServiceAccountKeys(); err != nil {
		return err
	}
	current, err := os.ReadFile(cp.file("sa.pub"))
	if err != nil {
		return err
	}
	if err := os.WriteFile(cp.file("sa.pub"), append(current, former...), 0o600); err != nil {
		return err
	}
	return cp.restartAPIServer()
}

// DropFormerKeys makes kube-apiserver accept only tokens of the key that it signs with.
func (cp *ControlPlane) DropFormerKeys() error {
	keys, err := os.ReadFile(cp.file("sa.pub"))
	if err != nil {
		return err
	}
	current, _ := pem.Decode(keys)
	if current == nil {
		return errors.New("there is no signing key")
	}
	if err := os.WriteFile(cp.file("sa.pub"), pem.EncodeToMemory(current), 0o600); err != nil {
		return err
	}
	return cp.restartAPIServer()
}

// ReplaceSigningKey makes kube-apiserver sign tokens with a new key, and accept tokens of no other.
func (cp *ControlPlane) ReplaceSigningKey() error {
	if err := cp.writeServiceAccountKeys(); err != nil {
		return err
	}
	return cp.restartAPIServer()
}

// restartAPIServer starts kube-apiserver anew at its old address. It reads its keys only at its start.
func (cp *ControlPlane) restartAPIServer() error {
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

package controlplane

import (
	"encoding/pem"
	"errors"
	"os"
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

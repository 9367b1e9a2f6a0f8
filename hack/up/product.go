package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

const (
	namespace  = "image-registry-system"
	configName = "configs.imageregistry.operator.alauda.io"
	publicInfo = "image-registry-public"
)

// product installs and enables the registry with the documented commands.
type product struct {
	env     *environment
	out     *progress
	timeout time.Duration
}

// kubectl runs kubectl and returns its standard output.
func (p *product) kubectl(ctx context.Context, args ...string) ([]byte, error) {
	return p.kubectlWithInput(ctx, nil, args...)
}

func (p *product) kubectlWithInput(ctx context.Context, input []byte, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, p.env.kubectl, args...)
	if p.env.kubeconfig != "" {
		cmd.Env = append(os.Environ(), "KUBECONFIG="+p.env.kubeconfig)
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.Bytes(), nil
}

// poll repeats check until it reports true, and prints what it waits for whenever that changes.
func (p *product) poll(ctx context.Context, what string, check func(context.Context) (done bool, state string, err error)) error {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var last string
	for {
		done, state, err := check(ctx)
		if done {
			return nil
		}
		if err != nil {
			state = err.Error()
		}
		if state != last && ctx.Err() == nil {
			p.out.step("  waiting for %s: %s", what, firstLine(state))
			last = state
		}
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return fmt.Errorf("%s: not ready after %s: %s", what, p.timeout, last)
			}
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

func (p *product) install(ctx context.Context) error {
	running, err := p.kubectl(ctx, "-n", namespace, "get", "deployments,daemonsets", "-o", "name")
	if err != nil {
		return err
	}
	p.out.step("kubectl apply -k %s", p.env.kustomization)
	if _, err := p.kubectl(ctx, "apply", "-k", p.env.kustomization); err != nil {
		return err
	}
	if p.env.restart && len(running) > 0 {
		if err := p.restart(ctx, strings.Fields(string(running))); err != nil {
			return err
		}
	}
	p.out.step("operator")
	_, err = p.kubectl(ctx, "-n", namespace, "rollout", "status", "deployment/cluster-image-registry-operator",
		fmt.Sprintf("--timeout=%s", p.timeout))
	return hinted(err, "kubectl -n %s describe pods -l app.kubernetes.io/name=cluster-image-registry-operator", namespace)
}

// restart rolls what ran before the installation, because its image changed under the same name, and waits for it:
// until the new operator has looked, Config says what was true before.
func (p *product) restart(ctx context.Context, workloads []string) error {
	p.out.step("new images: restarting what runs already")
	for _, name := range workloads {
		if _, err := p.kubectl(ctx, "-n", namespace, "rollout", "restart", name); err != nil {
			return err
		}
	}
	for _, name := range workloads {
		if _, err := p.kubectl(ctx, "-n", namespace, "rollout", "status", name, fmt.Sprintf("--timeout=%s", p.timeout)); err != nil {
			return hinted(err, "kubectl -n %s get pods,events", namespace)
		}
	}
	return nil
}

func (p *product) enable(ctx context.Context) error {
	p.out.step(`kubectl patch %s cluster --type=merge -p '{"spec":{"managementState":"Managed"}}'`, configName)
	err := p.poll(ctx, "Config/cluster", func(ctx context.Context) (bool, string, error) {
		_, err := p.kubectl(ctx, "patch", configName, "cluster", "--type=merge", "-p", `{"spec":{"managementState":"Managed"}}`)
		return err == nil, "the operator creates it", err
	})
	if err != nil {
		return hinted(err, "kubectl -n %s logs deployment/cluster-image-registry-operator", namespace)
	}
	if err := p.waitHealthy(ctx); err != nil {
		return hinted(err, "kubectl get %s cluster -o yaml; kubectl -n %s get pods,events", configName, namespace)
	}
	return p.saveCA(ctx)
}

type condition struct{ Type, Status, Reason, Message string }

// waitHealthy waits for the documented healthy state of the current generation.
func (p *product) waitHealthy(ctx context.Context) error {
	return p.poll(ctx, "registry", func(ctx context.Context) (bool, string, error) {
		raw, err := p.kubectl(ctx, "get", configName, "cluster", "-o", "json")
		if err != nil {
			return false, "", err
		}
		return healthy(raw)
	})
}

// healthy reads a Config: Available=True, Progressing=False, Degraded=False for the stored spec.
func healthy(raw []byte) (bool, string, error) {
	var config struct {
		Metadata struct{ Generation int64 }
		Status   struct {
			ObservedGeneration int64
			Conditions         []condition
		}
	}
	if err := json.Unmarshal(raw, &config); err != nil {
		return false, "", err
	}
	if config.Status.ObservedGeneration < config.Metadata.Generation {
		return false, "the operator takes up the change", nil
	}
	var state []string
	ok := true
	for _, want := range []condition{{Type: "Available", Status: "True"}, {Type: "Progressing", Status: "False"}, {Type: "Degraded", Status: "False"}} {
		i := slices.IndexFunc(config.Status.Conditions, func(c condition) bool { return c.Type == want.Type })
		if i < 0 {
			return false, want.Type + " not reported yet", nil
		}
		got := config.Status.Conditions[i]
		state = append(state, fmt.Sprintf("%s=%s/%s", got.Type, got.Status, got.Reason))
		ok = ok && got.Status == want.Status
	}
	return ok, strings.Join(state, " "), nil
}

// saveCA stores the registry's CA where clients on this machine find it.
func (p *product) saveCA(ctx context.Context) error {
	ca, err := p.kubectl(ctx, "-n", namespace, "get", "configmap", publicInfo, "-o", `jsonpath={.data.ca\.crt}`)
	if err != nil {
		return err
	}
	if len(ca) == 0 {
		return fmt.Errorf("ConfigMap %s/%s has no ca.crt", namespace, publicInfo)
	}
	return os.WriteFile(p.env.caFile, ca, 0o644)
}

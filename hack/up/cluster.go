package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// environment is how the product's cluster is reached.
type environment struct {
	root string
	// kubectl is the binary to run; kubeconfig is empty for kubectl's own default.
	kubectl, kubeconfig string
	// kustomization is the folder that `kubectl apply -k` gets.
	kustomization string
	// registry is the address at which this machine reaches the registry; empty: only from inside.
	registry string
	// caFile receives the CA of the registry, PEM.
	caFile string
	// sampleLayout is the OCI layout of the sample image.
	sampleLayout string
	// restart names the operands whose image changed under an unchanged name.
	restart bool
}

const devRegistryAddress = "127.0.0.1:5000"

// prepareCluster makes sure that there is a cluster whose nodes can run the product's images.
func prepareCluster(ctx context.Context, o options, out *progress) (*environment, error) {
	root, err := filepath.Abs(o.root)
	if err != nil {
		return nil, err
	}
	env := &environment{root: root, sampleLayout: filepath.Join(root, "_output", "images", "sample")}
	if o.cluster == "current" {
		return env, prepareCurrent(ctx, o, env, out)
	}
	return env, prepareDev(ctx, o, env, out)
}

func prepareDev(ctx context.Context, o options, env *environment, out *progress) error {
	if os.Geteuid() != 0 {
		return errors.New("the development cluster needs root (network namespaces, mounts, cgroups); on another cluster use CLUSTER=current IMAGE_REGISTRY=…")
	}
	output := filepath.Join(env.root, "_output", "devcluster")
	env.kubectl = filepath.Join(output, "bin", "kubectl")
	env.kubeconfig = filepath.Join(output, "kubeconfig")
	env.kustomization = filepath.Join(env.root, "manifests", "default")
	env.registry = devRegistryAddress
	env.caFile = filepath.Join(output, "registry-ca.crt")

	devcluster := filepath.Join(env.root, "_output", "bin", "devcluster")
	out.step("development cluster: %d nodes", o.nodes)
	if err := stream(ctx, env.root, devcluster, "up", "--nodes", fmt.Sprint(o.nodes)); err != nil {
		return hinted(fmt.Errorf("development cluster: %w", err), "%s status, %s logs", devcluster, devcluster)
	}
	out.step("images for linux/%s", runtime.GOARCH)
	if err := stream(ctx, env.root, "go", "run", "./hack/images", "build", "--platforms", "linux/"+runtime.GOARCH); err != nil {
		return fmt.Errorf("image build: %w", err)
	}
	changed, err := rememberImages(env.root)
	if err != nil {
		return err
	}
	env.restart = changed
	out.step("images into the nodes")
	tarballs, err := filepath.Glob(filepath.Join(env.root, "_output", "images", "*-linux-"+runtime.GOARCH+".tar"))
	if err != nil || len(tarballs) == 0 {
		return fmt.Errorf("no image tarballs for linux/%s below _output/images (%v)", runtime.GOARCH, err)
	}
	if err := stream(ctx, env.root, devcluster, append([]string{"load"}, tarballs...)...); err != nil {
		return fmt.Errorf("load images: %w", err)
	}
	return nil
}

func prepareCurrent(ctx context.Context, o options, env *environment, out *progress) error {
	kubectl, err := exec.LookPath("kubectl")
	if err != nil {
		return errors.New("CLUSTER=current needs kubectl in PATH")
	}
	env.kubectl = kubectl
	env.caFile = filepath.Join(env.root, "_output", "registry-ca.crt")
	out.step("images for %s", o.platforms)
	if err := stream(ctx, env.root, "go", "run", "./hack/images", "build", "--platforms", o.platforms); err != nil {
		return fmt.Errorf("image build: %w", err)
	}
	out.step("images to %s", o.imageRegistry)
	if err := stream(ctx, env.root, "go", "run", "./hack/images", "push", "--registry", o.imageRegistry); err != nil {
		return fmt.Errorf("image push: %w", err)
	}
	env.kustomization, err = writeOverlay(env.root, o.imageRegistry)
	return err
}

// rememberImages compares the built images with those of the last run. The development cluster
// uses one fixed tag, so an unchanged manifest does not tell that the image behind it is new.
func rememberImages(root string) (changed bool, err error) {
	indexes, err := filepath.Glob(filepath.Join(root, "_output", "images", "*", "index.json"))
	if err != nil {
		return false, err
	}
	var now strings.Builder
	for _, index := range indexes {
		content, err := os.ReadFile(index)
		if err != nil {
			return false, err
		}
		fmt.Fprintf(&now, "%s\n%s\n", filepath.Base(filepath.Dir(index)), content)
	}
	file := filepath.Join(root, "_output", "devcluster", "images.txt")
	before, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return false, err
	}
	if string(before) == now.String() {
		return false, nil
	}
	return true, os.WriteFile(file, []byte(now.String()), 0o644)
}

// stream runs a command whose output belongs to the user.
func stream(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s %s: %w", filepath.Base(name), strings.Join(args[:min(len(args), 2)], " "), err)
	}
	return nil
}

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

const (
	sampleNamespace = "demo"
	sampleImage     = sampleNamespace + "/hello:latest"
	internalHost    = "image-registry.image-registry-system.svc:5000"
)

// sample pushes an image as a ServiceAccount would and runs a Pod from it.
type sample struct{ product *product }

// sampleObjects is what a project needs to push: a namespace, an identity, the documented role.
const sampleObjects = `apiVersion: v1
kind: Namespace
metadata: {name: demo}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: builder, namespace: demo}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: builder-pushes-images, namespace: demo}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:image-pusher"}
subjects: [{kind: ServiceAccount, name: builder, namespace: demo}]
`

const samplePod = `apiVersion: v1
kind: Pod
metadata: {name: hello, namespace: demo}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: hello
    image: image-registry.image-registry-system.svc:5000/demo/hello:latest
    imagePullPolicy: Always
    securityContext: {allowPrivilegeEscalation: false, runAsNonRoot: true, capabilities: {drop: [ALL]}, seccompProfile: {type: RuntimeDefault}}
`

func (s *sample) run(ctx context.Context) error {
	p := s.product
	if p.env.registry == "" {
		p.out.step("no sample push: this machine does not know an address of the registry; see README.md, first push")
		return nil
	}
	p.out.step("sample: push %s as ServiceAccount demo/builder", sampleImage)
	if _, err := p.kubectlWithInput(ctx, []byte(sampleObjects), "apply", "-f", "-"); err != nil {
		return err
	}
	if err := s.pushed(ctx); err != nil {
		return hinted(err, "kubectl -n %s logs deployment/image-registry -c registry", namespace)
	}
	p.out.step("sample: run Pod demo/hello from %s/%s", internalHost, sampleImage)
	if err := s.runPod(ctx); err != nil {
		return hinted(err, "kubectl -n demo describe pod hello")
	}
	return nil
}

// pushed repeats the push while nobody answers: what an operator of another version rolls is away for seconds.
func (s *sample) pushed(ctx context.Context) error {
	var refused error
	err := s.product.poll(ctx, "the push", func(ctx context.Context) (bool, string, error) {
		err := s.push(ctx)
		if answer := (*transport.Error)(nil); errors.As(err, &answer) && answer.StatusCode < http.StatusInternalServerError {
			refused = err
			return true, "", nil
		}
		return err == nil, "", err
	})
	return errors.Join(refused, err)
}

func (s *sample) push(ctx context.Context) error {
	token, err := s.product.kubectl(ctx, "-n", sampleNamespace, "create", "token", "builder")
	if err != nil {
		return err
	}
	transport, err := trusting(s.product.env.caFile)
	if err != nil {
		return err
	}
	index, err := layout.ImageIndexFromPath(s.product.env.sampleLayout)
	if err != nil {
		return fmt.Errorf("sample image: %w", err)
	}
	manifest, err := index.IndexManifest()
	if err != nil || len(manifest.Manifests) == 0 {
		return fmt.Errorf("sample image layout is empty (%v)", err)
	}
	built, err := index.ImageIndex(manifest.Manifests[0].Digest)
	if err != nil {
		return fmt.Errorf("sample image: %w", err)
	}
	tag, err := name.NewTag(s.product.env.registry + "/" + sampleImage)
	if err != nil {
		return err
	}
	auth := &authn.Basic{Username: "builder", Password: strings.TrimSpace(string(token))}
	return remote.WriteIndex(tag, built, remote.WithContext(ctx), remote.WithAuth(auth), remote.WithTransport(transport))
}

// trusting returns a transport that trusts the CA in file and nothing else.
func trusting(file string) (http.RoundTripper, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New(file + " holds no certificate")
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	return transport, nil
}

func (s *sample) runPod(ctx context.Context) error {
	p := s.product
	err := p.poll(ctx, "pull secret of demo/default", func(ctx context.Context) (bool, string, error) {
		names, err := p.kubectl(ctx, "-n", sampleNamespace, "get", "serviceaccount", "default", "-o", "jsonpath={.imagePullSecrets[*].name}")
		return len(names) > 0, "the operator injects it", err
	})
	if err != nil {
		return err
	}
	if _, err := p.kubectl(ctx, "-n", sampleNamespace, "delete", "pod", "hello", "--ignore-not-found"); err != nil {
		return err
	}
	if _, err := p.kubectlWithInput(ctx, []byte(samplePod), "apply", "-f", "-"); err != nil {
		return err
	}
	return p.poll(ctx, "Pod demo/hello", func(ctx context.Context) (bool, string, error) {
		state, err := p.kubectl(ctx, "-n", sampleNamespace, "get", "pod", "hello", "-o",
			`jsonpath={.status.phase} {.status.conditions[?(@.type=="Ready")].status} {.status.containerStatuses[0].state.waiting.reason}`)
		return strings.HasPrefix(string(state), "Running True"), string(state), err
	})
}

func printNextSteps(out io.Writer, env *environment, s *sample) {
	fmt.Fprintf(out, "\nThe registry runs.\n")
	if env.registry == "" {
		fmt.Fprintf(out, "  kubectl get %s cluster\n  kubectl -n %s get pods\nThe registry's CA: %s\n", configName, namespace, env.caFile)
		return
	}
	fmt.Fprintf(out, `  source _output/devcluster/env             # kubectl, KUBECONFIG, REGISTRY_HOST, REGISTRY_CA
  kubectl get %s cluster
  kubectl get imagestreams,imagestreamtags -A
  kubectl -n demo logs hello
  kubectl -n demo create token builder      # password for a push to %s/demo/<name>:<tag>
  make test-e2e                             # prove it
  make down                                 # remove everything again
`, configName, env.registry)
}

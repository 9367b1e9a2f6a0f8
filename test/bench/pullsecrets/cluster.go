package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"golang.org/x/sync/errgroup"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/client-go/clientset/versioned"
	"image.alauda.io/registry/manifests"
	"image.alauda.io/registry/test/controlplane"
)

// cluster is the API server with clients of an administrator.
type cluster struct {
	plane    *controlplane.ControlPlane
	kube     kubernetes.Interface
	dynamic  dynamic.Interface
	registry versioned.Interface
	// kubeconfig is that of the operator's ServiceAccount.
	kubeconfig string
}

func startCluster(flags []string) (*cluster, error) {
	plane, err := controlplane.New(controlplane.WithAPIServerFlags(flags...))
	if err != nil {
		return nil, err
	}
	c := &cluster{plane: plane}
	if c.kube, err = kubernetes.NewForConfig(plane.Config); err == nil {
		if c.dynamic, err = dynamic.NewForConfig(plane.Config); err == nil {
			c.registry, err = versioned.NewForConfig(plane.Config)
		}
	}
	if err == nil {
		account := plane.RestConfigFor("system:serviceaccount:"+registryv1.DefaultNamespace+":"+registryv1.OperatorName,
			"system:serviceaccounts", "system:serviceaccounts:"+registryv1.DefaultNamespace, "system:authenticated")
		c.kubeconfig, err = plane.WriteKubeconfig("operator", account)
	}
	if err != nil {
		plane.Stop()
		return nil, err
	}
	return c, nil
}

// install creates what `kubectl apply -k manifests/default` would, without the Deployment.
func (c *cluster) install(ctx context.Context) error {
	root, err := repositoryRoot()
	if err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(root, "manifests/crd/imageregistry*.yaml"))
	if err != nil {
		return err
	}
	var documents [][]byte
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		documents = append(documents, data)
	}
	for _, name := range []string{"namespace", "serviceaccount", "rbac", "grants"} {
		data, err := fs.ReadFile(manifests.Files, "operator/"+name+".yaml")
		if err != nil {
			return err
		}
		documents = append(documents, data)
	}
	for _, document := range documents {
		if err := c.create(ctx, document); err != nil {
			return err
		}
	}
	return nil
}

func repositoryRoot() (string, error) {
	dir, err := os.Getwd()
	for err == nil {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("run this inside the repository")
		}
		dir = parent
	}
	return "", err
}

// create creates every object of a file.
func (c *cluster) create(ctx context.Context, file []byte) error {
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(file)))
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		object := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(document, &object.Object); err != nil {
			return err
		}
		if object.Object == nil {
			continue
		}
		plural, _ := meta.UnsafeGuessKindToResource(object.GroupVersionKind())
		_, err = c.dynamic.Resource(plural).Namespace(object.GetNamespace()).Create(ctx, object, metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("create %s %s: %w", object.GetKind(), object.GetName(), err)
		}
	}
}

// populate makes the namespaces and spreads the accounts over them.
func (c *cluster) populate(ctx context.Context, o options) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for n := range o.namespaces {
		group.Go(func() error {
			name := fmt.Sprintf("team-%05d", n)
			_, err := c.kube.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
			for i := n; err == nil && i < o.accounts; i += o.namespaces {
				account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("app-%d", i/o.namespaces)}}
				_, err = c.kube.CoreV1().ServiceAccounts(name).Create(ctx, account, metav1.CreateOptions{})
			}
			return err
		})
	}
	return group.Wait()
}

// configure merges into the spec of Config, once the operator has made it.
func (c *cluster) configure(ctx context.Context, spec string) error {
	return poll(ctx, time.Minute, time.Second, func() (bool, error) {
		_, err := c.registry.ImageregistryV1().Configs().Patch(ctx, registryv1.SingletonName, types.MergePatchType,
			[]byte(`{"spec":`+spec+`}`), metav1.PatchOptions{})
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		return err == nil, err
	})
}

// due lists when the tokens of all Secrets are to be refreshed, as it is noted on them.
func (c *cluster) due(ctx context.Context) (times []time.Time, err error) {
	next := ""
	for {
		list, err := c.kube.CoreV1().Secrets("").List(ctx, metav1.ListOptions{LabelSelector: registryv1.ManagedPullSecretLabel, Limit: 1000, Continue: next})
		if err != nil {
			return nil, err
		}
		for i := range list.Items {
			at, err := time.Parse(time.RFC3339, list.Items[i].Annotations[registryv1.TokenRefreshAtAnnotation])
			if err != nil {
				return nil, fmt.Errorf("secret %s/%s: %w", list.Items[i].Namespace, list.Items[i].Name, err)
			}
			times = append(times, at)
		}
		if next = list.Continue; next == "" {
			return times, nil
		}
	}
}

// poll asks until it is done, fails or takes too long.
func poll(ctx context.Context, patience, interval time.Duration, ask func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		done, err := ask()
		if done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not within %s", patience)
		case <-tick.C:
		}
	}
}

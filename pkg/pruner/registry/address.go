package registry

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	imagev1 "image.alauda.io/api/image/v1"
	imageregistryv1 "image.alauda.io/api/imageregistry/v1"
	imageclient "image.alauda.io/client-go/clientset/versioned"
)

const (
	// InternalHost is the registry inside the cluster.
	InternalHost = imageregistryv1.RegistryName + "." + imageregistryv1.DefaultNamespace + ".svc:5000"

	externalHostsKey = "externalRegistryHostnames"
	managedAlias     = "image.alauda.io/managed"
)

// ErrNoAddress: nothing says where the registry is.
var ErrNoAddress = errors.New("the address of the registry is not known: give it with --registry-url")

// Finder looks the registry up where its address was not given.
type Finder struct {
	// InPod: the process runs in a Pod, where the internal name works.
	InPod bool
	Kube  kubernetes.Interface
	Image imageclient.Interface
	// Parse reads an address as a flag would.
	Parse func(string) (*url.URL, error)
	// PageSize of the list of images.
	PageSize int64
}

// Find returns the address: the internal one in a Pod, else the first external one that the cluster
// publishes, else the one in the youngest image that was pushed here.
func (f Finder) Find(ctx context.Context) (*url.URL, error) {
	if f.InPod {
		return f.Parse(InternalHost)
	}
	namespace, name := imageregistryv1.DefaultNamespace, imageregistryv1.ConfigMapPublic
	public, err := f.Kube.CoreV1().ConfigMaps(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsForbidden(err) {
		return nil, fmt.Errorf("ConfigMap %s/%s: %w", namespace, name, err)
	}
	if err == nil {
		if hosts := strings.Fields(public.Data[externalHostsKey]); len(hosts) > 0 {
			address, err := f.Parse(hosts[0])
			if err != nil {
				return nil, fmt.Errorf("ConfigMap %s/%s: %w", namespace, name, err)
			}
			return address, nil
		}
	}
	reference, err := f.youngest(ctx)
	if err != nil {
		return nil, fmt.Errorf("list of images, to find the registry: %w", err)
	}
	host, _, found := strings.Cut(reference, "/")
	if !found || !strings.ContainsAny(host, ".:") {
		return nil, ErrNoAddress
	}
	address, err := f.Parse(host)
	if err != nil {
		return nil, ErrNoAddress
	}
	return address, nil
}

// youngest returns the reference of the image that was pushed here last.
func (f Finder) youngest(ctx context.Context) (string, error) {
	var reference string
	var at time.Time
	options := metav1.ListOptions{Limit: f.PageSize}
	seen := map[string]bool{"": true}
	for {
		page, err := f.Image.ImageV1().Images().List(ctx, options)
		if err != nil {
			return "", err
		}
		for i := range page.Items {
			image := &page.Items[i]
			managed := image.Annotations[imagev1.ManagedByAlaudaAnnotation] == "true" || image.Annotations[managedAlias] == "true"
			if managed && image.DockerImageReference != "" && (reference == "" || image.CreationTimestamp.After(at)) {
				reference, at = image.DockerImageReference, image.CreationTimestamp.Time
			}
		}
		// A list that leads back to itself has shown everything, too.
		if options.Continue = page.Continue; seen[options.Continue] {
			return reference, nil
		}
		seen[options.Continue] = true
	}
}

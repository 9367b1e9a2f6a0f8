// Package credentials collects what an import into a namespace may log in with.
//
// In: the pull secrets of the namespace and, with lower priority, the Secret
// that the configuration names for the whole cluster. Out: one keyring. Secrets
// are read live and never cached.
//
// Entries of the cluster's Secret for this registry itself are left out:
// nobody may read other namespaces with them. No registry sees the others that
// only a user calls insecure. A malformed Secret is left out,
// too, and reported, without a word of its content. A server that may not list
// Secrets, because an administrator took that right away, works with the
// cluster's Secret alone.
package credentials

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/klog/v2"

	"image.alauda.io/registry/pkg/imageapiserver/imagesecret"
	"image.alauda.io/registry/pkg/oci/remote/keyring"
)

// ReasonMalformed is the reason of events about Secrets that are left out.
const ReasonMalformed = "MalformedPullSecret"

// Warner tells the owner of a Secret that it cannot be used.
type Warner interface {
	Warn(secret *corev1.Secret, reason, message string)
}

// Options are what a Source needs.
type Options struct {
	// Secrets are read with the server's own identity.
	Secrets corev1client.SecretsGetter
	// Namespace is the server's own, which holds the cluster's Secret.
	Namespace string
	// ClusterSecret returns its name at the moment, empty for none.
	ClusterSecret func() string
	// OwnHosts returns the names of this registry.
	OwnHosts func() []string
	// Warner is told about malformed Secrets; nil only logs.
	Warner Warner
}

// Source makes keyrings.
type Source struct {
	options Options
}

// New reads through the options.
func New(options Options) (*Source, error) {
	if options.Secrets == nil || options.ClusterSecret == nil || options.OwnHosts == nil {
		return nil, errors.New("import credentials: Secrets, ClusterSecret and OwnHosts must be set")
	}
	return &Source{options: options}, nil
}

// Keyring returns what imports into streams of the namespace may use.
func (s *Source) Keyring(ctx context.Context, namespace string) (*keyring.Keyring, error) {
	own, err := s.ofNamespace(ctx, namespace)
	if err != nil {
		return nil, err
	}
	shared, err := s.ofCluster(ctx)
	if err != nil {
		return nil, err
	}
	return keyring.Join(own, shared), nil
}

func (s *Source) ofNamespace(ctx context.Context, namespace string) (*keyring.Keyring, error) {
	secrets, err := imagesecret.Pullable(ctx, s.options.Secrets, namespace)
	if apierrors.IsForbidden(err) {
		klog.FromContext(ctx).V(2).Info("The pull secrets of the namespace may not be read, the import does without", "namespace", namespace)
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("pull secrets of namespace %s: %w", namespace, err)
	}
	return s.read(ctx, secrets), nil
}

func (s *Source) ofCluster(ctx context.Context) (*keyring.Keyring, error) {
	name := s.options.ClusterSecret()
	if name == "" {
		return nil, nil
	}
	secret, err := s.options.Secrets.Secrets(s.options.Namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
		klog.FromContext(ctx).Info("The cluster's import credentials cannot be read, the import does without", "secret", klog.KRef(s.options.Namespace, name), "err", err)
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("secret %s/%s: %w", s.options.Namespace, name, err)
	}
	return s.read(ctx, []corev1.Secret{*secret}).Except(s.options.OwnHosts()...).Verified(), nil
}

// read makes a keyring of the Secrets that can be read.
func (s *Source) read(ctx context.Context, secrets []corev1.Secret) *keyring.Keyring {
	ring, malformed := keyring.FromSecrets(secrets)
	for _, problem := range malformed {
		for i := range secrets {
			if secrets[i].Name != problem.Secret {
				continue
			}
			klog.FromContext(ctx).Info("A pull secret is left out", "secret", klog.KObj(&secrets[i]), "problem", problem.Reason)
			if s.options.Warner != nil {
				s.options.Warner.Warn(&secrets[i], ReasonMalformed, "left out of image imports: "+problem.Reason)
			}
		}
	}
	return ring
}

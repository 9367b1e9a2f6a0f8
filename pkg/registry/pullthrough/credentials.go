package pullthrough

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"sync"
	"time"

	"image.alauda.io/registry/pkg/oci/remote/keyring"
	"image.alauda.io/registry/pkg/registry/route"

	"go.uber.org/zap"
	"golang.org/x/sync/singleflight"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/cache"
)

const (
	secretsLifetime = 30 * time.Second
	filesLifetime   = time.Minute
	// secretsTime ends the wait for the API, secretsFailure delays the next attempt.
	secretsTime      = 10 * time.Second
	secretsFailure   = 5 * time.Second
	rememberedLogins = 1000
	maxConfigFile    = 1 << 20
)

// keyrings are the credentials by stream.
type keyrings struct {
	secrets func(ctx context.Context, name route.Name) ([]corev1.Secret, error)
	files   []string
	own     []string
	now     func() time.Time
	log     *zap.Logger

	known   *cache.LRUExpireCache
	asking  singleflight.Group
	mu      sync.Mutex
	checked time.Time
	cluster *keyring.Keyring
}

type clock func() time.Time

// Now implements the clock of the cache.
func (c clock) Now() time.Time { return c() }

func newKeyrings(o Options) *keyrings {
	return &keyrings{
		secrets: o.Secrets, files: o.ConfigFiles, own: append([]string{o.ServerAddr}, o.OwnHosts...), now: o.Now, log: o.Log,
		known: cache.NewLRUExpireCacheWithClock(rememberedLogins, clock(o.Now)),
	}
}

// of returns what may be used for a stream: the secrets of its namespace, then the files
// of the cluster. A failure costs the secrets and not the pull.
func (k *keyrings) of(ctx context.Context, name route.Name) *keyring.Keyring {
	return keyring.Join(k.ofStream(ctx, name), k.ofCluster())
}

func (k *keyrings) ofStream(ctx context.Context, name route.Name) *keyring.Keyring {
	key := name.String()
	if found, ok := k.known.Get(key); ok {
		return found.(*keyring.Keyring)
	}
	found, _, _ := k.asking.Do(key, func() (any, error) {
		// One client that leaves must not spoil it for the others.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), secretsTime)
		defer cancel()
		secrets, err := k.secrets(ctx, name)
		if err != nil {
			k.log.Warn("the pull secrets of a stream cannot be read, pulling without", zap.Stringer("repository", name), zap.Error(err))
			k.known.Add(key, (*keyring.Keyring)(nil), secretsFailure)
			return (*keyring.Keyring)(nil), nil
		}
		ring, malformed := keyring.FromSecrets(secrets)
		for _, problem := range malformed {
			k.log.Info("a pull secret is left out", zap.Stringer("repository", name), zap.Error(problem))
		}
		k.known.Add(key, ring, secretsLifetime)
		return ring, nil
	})
	return found.(*keyring.Keyring)
}

// ofCluster reads the files of the cluster. Nobody reads other namespaces with them, and
// no registry sees them that only a user calls insecure.
func (k *keyrings) ofCluster() *keyring.Keyring {
	k.mu.Lock()
	defer k.mu.Unlock()
	if now := k.now(); k.cluster == nil || now.Sub(k.checked) >= filesLifetime {
		k.cluster, k.checked = k.readFiles().Except(k.own...).Verified(), now
	}
	return k.cluster
}

func (k *keyrings) readFiles() *keyring.Keyring {
	var rings []*keyring.Keyring
	for _, path := range k.files {
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		var raw []byte
		if err == nil && info.Size() > maxConfigFile {
			err = errors.New("is larger than 1 MiB")
		}
		if err == nil {
			raw, err = os.ReadFile(path)
		}
		var ring *keyring.Keyring
		if err == nil {
			ring, err = keyring.FromFile(path, raw)
		}
		if err != nil {
			k.log.Warn("a file of credentials is left out", zap.String("file", path), zap.Error(err))
			continue
		}
		rings = append(rings, ring)
	}
	return keyring.Join(rings...)
}

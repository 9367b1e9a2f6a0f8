package pullsecret

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"

	imageregistryv1 "image.alauda.io/api/imageregistry/v1"
)

const (
	// keysInterval is the time between two looks at the cluster's signing keys, keysSpread the time over
	// which tokens of keys that are gone are replaced.
	keysInterval = 5 * time.Minute
	keysSpread   = 10 * time.Minute

	keySetPath = "/openid/v1/jwks"
	// probeAudience is that of a token which is thrown away: it is good for nothing.
	probeAudience = imageregistryv1.DefaultTokenAudience + "/probe"
	probeSeconds  = int64(600)
)

// pace is how often the keys are looked at, and how fast what follows is done.
type pace struct{ look, spread time.Duration }

// keySet holds the ids of the keys that the cluster accepts tokens of.
type keySet struct {
	mu sync.Mutex
	// known is replaced as a whole, never changed; nil until the keys were seen for the first time.
	known map[string]bool
	// issued are ids of tokens that were issued lately. One API server of several may sign with a key that
	// the one which was asked for the keys has not read yet; without this, its tokens would be replaced on
	// and on.
	issued map[string]time.Time
}

// snapshot returns the known ids; nil means unknown, and says nothing about any token.
func (k *keySet) snapshot() map[string]bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.known
}

// observe takes over the keys that the cluster has now and tells whether they changed. Keys that signed within
// grace count as well. An observation without any key is no observation: it would condemn every token.
func (k *keySet) observe(ids []string, now time.Time, grace time.Duration) (changed bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	next := map[string]bool{}
	for _, id := range ids {
		if id != "" {
			next[id] = true
		}
	}
	if len(next) == 0 {
		return false
	}
	for id, at := range k.issued {
		if now.Sub(at) >= grace {
			delete(k.issued, id)
			continue
		}
		next[id] = true
	}
	changed = !maps.Equal(k.known, next)
	k.known = next
	return changed
}

// signedBy notes the key of a token that was issued just now.
func (k *keySet) signedBy(id string, now time.Time) {
	if id == "" {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.issued == nil {
		k.issued = map[string]time.Time{}
	}
	k.issued[id] = now
	if k.known != nil && !k.known[id] {
		k.known = maps.Clone(k.known)
		k.known[id] = true
	}
}

// keyGone tells whether the token of a key is no longer accepted, as far as is known.
func keyGone(known map[string]bool, id string) bool {
	return known != nil && id != "" && !known[id]
}

// parseKeyIDs reads a JSON Web Key Set (RFC 7517). Keys without an id are left out.
func parseKeyIDs(data []byte) ([]string, error) {
	var set struct {
		Keys []struct {
			ID string `json:"kid"`
		} `json:"keys"`
	}
	if err := json.Unmarshal(data, &set); err != nil {
		return nil, errors.New("the key set is not JSON") // the parser's words would repeat what was sent
	}
	var ids []string
	for _, key := range set.Keys {
		if key.ID != "" {
			ids = append(ids, key.ID)
		}
	}
	return ids, nil
}

// SigningKeys asks the API server for the ids of its signing keys. One that does not tell, because it forbids
// the question or does not publish them, is asked for a token of account, whose header names the key; the
// token is thrown away.
func SigningKeys(client kubernetes.Interface, namespace, account string) func(context.Context) ([]string, error) {
	return func(ctx context.Context) ([]string, error) {
		data, err := client.Discovery().RESTClient().Get().AbsPath(keySetPath).DoRaw(ctx)
		var ids []string
		switch {
		case err == nil:
			if ids, err = parseKeyIDs(data); err != nil {
				return nil, err
			}
		case !apierrors.IsForbidden(err) && !apierrors.IsNotFound(err):
			return nil, fmt.Errorf("read signing keys: %w", err)
		}
		if len(ids) > 0 {
			return ids, nil
		}
		return probe(ctx, client, namespace, account)
	}
}

func probe(ctx context.Context, client kubernetes.Interface, namespace, account string) ([]string, error) {
	seconds := probeSeconds
	response, err := client.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, account, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{Audiences: []string{probeAudience}, ExpirationSeconds: &seconds},
	}, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("token of ServiceAccount %s/%s, to learn the signing key: %w", namespace, account, err)
	}
	if id := keyID(response.Status.Token); id != "" {
		return []string{id}, nil
	}
	return nil, nil
}

// watchKeys looks at the signing keys until ctx ends.
func (c *Controller) watchKeys(ctx context.Context) {
	defer utilruntime.HandleCrashWithContext(ctx)
	ticker := c.Clock.NewTicker(c.keyPace.look)
	defer ticker.Stop()
	for {
		c.lookAtKeys(ctx)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C():
		}
	}
}

// lookAtKeys asks only while tokens are kept valid.
func (c *Controller) lookAtKeys(ctx context.Context) {
	s, err := c.settings()
	if err != nil || (s.mode != Full && s.mode != RefreshOnly) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	ids, err := c.SigningKeys(ctx)
	if err != nil {
		if !errors.Is(err, context.Canceled) {
			klog.FromContext(ctx).Error(err, "The signing keys could not be read", "controller", controllerName)
		}
		return
	}
	if c.keys.observe(ids, c.Clock.Now(), 2*c.keyPace.look) {
		c.enqueueKeysGone()
	}
}

// enqueueKeysGone spreads the Secrets whose token nobody accepts any more. A lost key makes all of them wait
// for one turn; a rotation leaves the old key valid for as long as tokens live, and nothing waits.
func (c *Controller) enqueueKeysGone() {
	known := c.keys.snapshot()
	for _, object := range c.secrets.List() {
		secret, ok := object.(*Secret)
		if !ok || !keyGone(known, secret.KeyID()) {
			continue
		}
		key := secret.key()
		c.queue.AddAfter(key, delayWithin(c.keyPace.spread, key))
	}
}

package pullsecret

import (
	"hash/fnv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/tools/cache"
)

const (
	// maxSpread and spreadPerAccount bound the time over which a change of hosts is written out.
	maxSpread        = 5 * time.Minute
	spreadPerAccount = 30 * time.Millisecond
)

// urgent tells whether the ServiceAccount lacks its credential: the reference, or the token behind it, because
// the admission policy sets the reference before there is anything to refer to.
func (c *Controller) urgent(key types.NamespacedName) bool {
	account, err := c.accounts.ServiceAccounts(key.Namespace).Get(key.Name)
	if err != nil {
		return false
	}
	name := SecretName(key.Name)
	if !references(account, name) {
		return true
	}
	object, exists, err := c.secrets.GetByKey(key.Namespace + "/" + name)
	secret, ok := object.(*corev1.Secret)
	return err == nil && (!exists || !ok || secret.Annotations[dataHashAnnotation] == "")
}

// arrived notes when a ServiceAccount was created, to tell how long its credential takes.
func (c *Controller) arrived(obj any) {
	if account, ok := obj.(*corev1.ServiceAccount); ok {
		c.memory.arrived(keyOf(account), c.Clock.Now())
	}
}

func (c *Controller) enqueueAccount(obj any) {
	if name, err := cache.DeletionHandlingObjectToName(obj); err == nil {
		c.queue.Add(types.NamespacedName{Namespace: name.Namespace, Name: name.Name})
	}
}

func (c *Controller) enqueueSecret(obj any) {
	if tombstone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		obj = tombstone.Obj
	}
	if secret, ok := obj.(*corev1.Secret); ok {
		c.queue.Add(accountOf(secret))
	}
}

// enqueueNamespace reacts to labels and deletion: the scope of its ServiceAccounts may have changed.
func (c *Controller) enqueueNamespace(obj any) {
	name, err := cache.DeletionHandlingObjectToName(obj)
	if err != nil {
		return
	}
	accounts, err := c.accounts.ServiceAccounts(name.Name).List(labels.Everything())
	if err != nil {
		utilruntime.HandleError(err)
		return
	}
	for _, account := range accounts {
		c.queue.Add(types.NamespacedName{Namespace: account.Namespace, Name: account.Name})
	}
}

// enqueueAll looks at every ServiceAccount again when something that concerns all of them changed. When
// only the hosts did, what has a credential already is spread over minutes.
func (c *Controller) enqueueAll(any) {
	now, err := c.settings()
	if err != nil {
		utilruntime.HandleError(err)
		return
	}
	c.mu.Lock()
	before := c.last
	c.last = now
	c.mu.Unlock()
	if before.equal(now) {
		return
	}
	accounts, err := c.accounts.List(labels.Everything())
	if err != nil {
		utilruntime.HandleError(err)
		return
	}
	spread := min(maxSpread, time.Duration(len(accounts))*spreadPerAccount)
	hostsOnly := before.sameScope(now)
	for _, account := range accounts {
		key := types.NamespacedName{Namespace: account.Namespace, Name: account.Name}
		if hostsOnly && !c.urgent(key) {
			c.queue.AddAfter(key, delayWithin(spread, key))
			continue
		}
		c.queue.Add(key)
	}
}

// delayWithin is a fixed share of spread for each key.
func delayWithin(spread time.Duration, key types.NamespacedName) time.Duration {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(key.String()))
	return spread * time.Duration(hash.Sum32()%1000) / 1000
}

package pullsecret

import (
	"hash/fnv"
	"time"

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
	account := c.cachedAccount(key.Namespace, key.Name)
	if account == nil {
		return false
	}
	if !account.Refers {
		return true
	}
	secret := c.cachedSecret(key.Namespace, SecretName(key.Name))
	return secret == nil || !secret.Hashed
}

// cachedAccount is nil when there is none.
func (c *Controller) cachedAccount(namespace, name string) *Account {
	object, _, _ := c.accounts.GetByKey(namespace + "/" + name) // never fails: the key is made already
	account, _ := object.(*Account)
	return account
}

// cachedSecret is nil when there is none with the label.
func (c *Controller) cachedSecret(namespace, name string) *Secret {
	object, _, _ := c.secrets.GetByKey(namespace + "/" + name)
	secret, _ := object.(*Secret)
	return secret
}

func (c *Controller) allAccounts() []*Account { return accountsOf(c.accounts.List()) }

func accountsOf(objects []any) []*Account {
	accounts := make([]*Account, 0, len(objects))
	for _, object := range objects {
		if account, ok := object.(*Account); ok {
			accounts = append(accounts, account)
		}
	}
	return accounts
}

// arrived notes when a ServiceAccount was created, to tell how long its credential takes.
func (c *Controller) arrived(obj any) {
	if account, ok := obj.(*Account); ok {
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
	if secret, ok := obj.(*Secret); ok {
		c.queue.Add(secret.key())
	}
}

// enqueueNamespace reacts to labels and deletion: the scope of its ServiceAccounts may have changed.
func (c *Controller) enqueueNamespace(obj any) {
	name, err := cache.DeletionHandlingObjectToName(obj)
	if err != nil {
		return
	}
	accounts, err := c.accounts.ByIndex(cache.NamespaceIndex, name.Name)
	if err != nil {
		utilruntime.HandleError(err)
		return
	}
	for _, account := range accountsOf(accounts) {
		c.queue.Add(keyOf(account))
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
	accounts := c.allAccounts()
	spread := min(maxSpread, time.Duration(len(accounts))*spreadPerAccount)
	hostsOnly := before.sameScope(now)
	for _, account := range accounts {
		key := keyOf(account)
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

package importer

import "k8s.io/utils/lru"

// remembered knows which index led to which child in mode Legacy, where the tag shows the
// child and the registry tells the digest of the index. It is lost with the process, after
// which the manifest is fetched once more.
type remembered struct{ cache *lru.Cache }

type chosen struct{ remote, image string }

func newRemembered(size int) *remembered { return &remembered{cache: lru.New(size)} }

func (r *remembered) note(key lookupKey, remote, image string) {
	r.cache.Add(key, chosen{remote: remote, image: image})
}

// leads tells whether the index was seen to lead to the image.
func (r *remembered) leads(key lookupKey, remote, image string) bool {
	value, found := r.cache.Get(key)
	return found && value == chosen{remote: remote, image: image}
}

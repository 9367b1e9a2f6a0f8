package references

import "sync"

// remembered bounds how many strings are remembered; a few megabytes.
const remembered = 1 << 14

// memory knows what strings mean that were parsed before. The Pods of a workload name the same images, and so
// do the sidecars of all, and parsing costs more than anything else that is done with an object.
type memory struct {
	mu     sync.RWMutex
	parsed map[string]parsed
}

type parsed struct {
	ref Reference
	err error
}

// parse is Parse. What is longer than any reference is not remembered.
func (m *memory) parse(text string) (Reference, error) {
	if len(text) > maxImage {
		return Parse(text)
	}
	m.mu.RLock()
	p, known := m.parsed[text]
	m.mu.RUnlock()
	if known {
		return p.ref, p.err
	}
	p.ref, p.err = Parse(text)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.parsed == nil || len(m.parsed) >= remembered {
		m.parsed = map[string]parsed{}
	}
	m.parsed[text] = p
	return p.ref, p.err
}

package pullsecret

import "k8s.io/apimachinery/pkg/types"

const controllerName = "pull-secrets"

// urgentInARow is how many ServiceAccounts without a credential are served before one that waits for a refresh: with
// enough of the former, tokens of all others would run out.
const urgentInARow = 4

// priorityQueue serves ServiceAccounts without a credential before refreshes, so that the first Pods of a new
// namespace do not wait behind the upkeep of the old ones. Among each, namespaces take turns: one with thousands of
// ServiceAccounts costs another only its own turn. The work queue around it guards it.
type priorityQueue struct {
	urgent    func(types.NamespacedName) bool
	first     fair
	afterward fair
	inARow    int
}

func (q *priorityQueue) Touch(types.NamespacedName) {}

func (q *priorityQueue) Len() int { return q.first.waiting + q.afterward.waiting }

func (q *priorityQueue) Push(key types.NamespacedName) {
	if q.urgent(key) {
		q.first.push(key)
		return
	}
	q.afterward.push(key)
}

func (q *priorityQueue) Pop() types.NamespacedName {
	if q.first.waiting > 0 && (q.inARow < urgentInARow || q.afterward.waiting == 0) {
		q.inARow++
		return q.first.pop()
	}
	q.inARow = 0
	return q.afterward.pop()
}

// fair is first in, first out within a namespace, and one of each namespace in turn.
type fair struct {
	waiting int
	// turns are the namespaces with keys, the next one first.
	turns []string
	keys  map[string][]types.NamespacedName
}

func (f *fair) push(key types.NamespacedName) {
	if f.keys == nil {
		f.keys = map[string][]types.NamespacedName{}
	}
	if len(f.keys[key.Namespace]) == 0 {
		f.turns = append(f.turns, key.Namespace)
	}
	f.keys[key.Namespace] = append(f.keys[key.Namespace], key)
	f.waiting++
}

func (f *fair) pop() types.NamespacedName {
	namespace := f.turns[0]
	f.turns = f.turns[1:]
	keys := f.keys[namespace]
	f.waiting--
	switch {
	case len(keys) > 1:
		f.keys[namespace] = keys[1:]
		f.turns = append(f.turns, namespace)
	case f.waiting == 0:
		f.turns, f.keys = nil, nil // what a fill needed is not kept
	default:
		delete(f.keys, namespace)
	}
	return keys[0]
}

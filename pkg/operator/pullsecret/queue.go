package pullsecret

import "k8s.io/apimachinery/pkg/types"

const controllerName = "pull-secrets"

// priorityQueue serves ServiceAccounts without a credential before refreshes, so that the first Pods of
// a new namespace do not wait behind the upkeep of the old ones. The work queue around it guards it.
type priorityQueue struct {
	urgent    func(types.NamespacedName) bool
	first     fifo
	afterward fifo
}

func (q *priorityQueue) Touch(types.NamespacedName) {}

func (q *priorityQueue) Len() int { return len(q.first) + len(q.afterward) }

func (q *priorityQueue) Push(key types.NamespacedName) {
	if q.urgent(key) {
		q.first.push(key)
		return
	}
	q.afterward.push(key)
}

func (q *priorityQueue) Pop() types.NamespacedName {
	if len(q.first) > 0 {
		return q.first.pop()
	}
	return q.afterward.pop()
}

type fifo []types.NamespacedName

func (f *fifo) push(key types.NamespacedName) { *f = append(*f, key) }

func (f *fifo) pop() types.NamespacedName {
	key := (*f)[0]
	*f = (*f)[1:]
	return key
}

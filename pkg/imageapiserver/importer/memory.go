package importer

import "sync/atomic"

// memory counts the bytes that all requests of the process keep. It bounds them together, because the number
// of requests at a time is not bounded here.
type memory struct {
	limit int64
	used  atomic.Int64
}

// take tells whether there is room for some more bytes, and counts them if there is.
func (m *memory) take(size int64) bool {
	if m.used.Add(size) <= m.limit {
		return true
	}
	m.used.Add(-size)
	return false
}

func (m *memory) give(size int64) { m.used.Add(-size) }

package lookup

import (
	"errors"
	"io"
	"sync"

	"golang.org/x/sync/semaphore"
)

const (
	// maxBody takes an object and its older version, each as large as kube-apiserver accepts.
	maxBody = 7 << 20
	// memoryForBodies is for all requests together; decoding takes about as much again.
	memoryForBodies = 64 << 20
	// memoryOfSource is the share that the bodies of one address may take.
	memoryOfSource = memoryForBodies / 2
	// firstBuffer suits most reviews.
	firstBuffer = 64 << 10
)

var errNoMemory = errors.New("too many requests at once")

// memory bounds what the bodies of all requests take, and what those of one address take. A sender is charged
// for what has arrived, not for what he announces.
type memory struct {
	free  *semaphore.Weighted
	share int64

	mu    sync.Mutex
	taken map[string]int64
}

func newMemory(size, share int64) *memory {
	return &memory{free: semaphore.NewWeighted(size), share: share, taken: map[string]int64{}}
}

func (m *memory) take(source string, size int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.taken[source]+size > m.share || !m.free.TryAcquire(size) {
		return false
	}
	m.taken[source] += size
	return true
}

func (m *memory) give(source string, size int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.free.Release(size)
	if m.taken[source] -= size; m.taken[source] <= 0 {
		delete(m.taken, source)
	}
}

// read reads a body from an address to its end. release returns its memory, also after an error.
func (m *memory) read(source string, body io.Reader, announced int64) (data []byte, release func(), err error) {
	var charged int64
	release = func() { m.give(source, charged) }
	charge := func(size int64) bool {
		if !m.take(source, size) {
			return false
		}
		charged += size
		return true
	}
	size := int64(firstBuffer)
	if announced >= 0 && announced < size {
		size = announced + 1 // One more, to see the end.
	}
	if !charge(size) {
		return nil, release, errNoMemory
	}
	data = make([]byte, 0, size)
	for {
		n, err := body.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
		if errors.Is(err, io.EOF) {
			return data, release, nil
		}
		if err != nil {
			return nil, release, err
		}
		if len(data) < cap(data) {
			continue
		}
		if !charge(int64(cap(data))) {
			return nil, release, errNoMemory
		}
		grown := make([]byte, len(data), 2*cap(data))
		copy(grown, data)
		data = grown
	}
}

package server

import (
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// looks is how often within the longest pause a transfer is looked at.
const looks = 8

// watch ends the transfer of a request that stands still: the client neither takes what is written nor sends what is
// read. Time that the storage needs is not the client's and does not count.
//
// A plain deadline cannot tell a slow client from one that stalls: the system reports room in its send buffer in steps
// of a third of it, which is more than a megabyte, and over HTTP/2 a deadline runs also while nothing is written. So
// the watch looks at whether a call waits for the client, and at what the client's system has acknowledged meanwhile.
type watch struct {
	timeout time.Duration
	control *http.ResponseController
	// acknowledged counts the bytes of the connection that reached the client; least is how many of them in one look
	// are progress. nil where nobody knows.
	acknowledged func() (uint64, bool)
	least        uint64

	begin time.Time
	// reading and writing are since when a call waits, in nanoseconds from begin; 0 while none does.
	reading, writing atomic.Int64

	mu    sync.Mutex
	ended bool
	timer *time.Timer
	// count is what was acknowledged at the last look, moved when that grew last, of the call that began at since.
	count uint64
	moved time.Duration
	since int64
}

// newWatch starts to look; a timeout of 0 never ends anything.
func newWatch(w http.ResponseWriter, r *http.Request, timeout time.Duration) *watch {
	s := &watch{timeout: timeout, control: http.NewResponseController(w), begin: time.Now()}
	if timeout <= 0 {
		return s
	}
	s.acknowledged, s.least = connectionCount(r.Context()), 1
	if r.ProtoMajor > 1 {
		s.least = leastShared
	} else {
		_ = s.control.SetWriteDeadline(time.Time{}) // that of the last answer on this connection
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timer = time.AfterFunc(timeout/looks, s.look)
	return s
}

// leastShared leaves out what else goes over a connection of HTTP/2, like answers to pings.
const leastShared = 1 << 10

// waits notes that a call waits for the client until the returned function is called.
func (s *watch) waits(call *atomic.Int64) {
	if s.timeout > 0 {
		call.Store(max(1, int64(time.Since(s.begin))))
	}
}

func (s *watch) goesOn(call *atomic.Int64) { call.Store(0) }

// look ends what has stood still for too long.
func (s *watch) look() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	now := time.Since(s.begin)
	if since := s.reading.Load(); since != 0 && now-time.Duration(since) >= s.timeout {
		_ = s.control.SetReadDeadline(past)
	}
	if since := s.writing.Load(); since != 0 && now-s.lastMove(since, now) >= s.timeout {
		_ = s.control.SetWriteDeadline(past)
	}
	s.timer.Reset(s.timeout / looks)
}

var past = time.Unix(1, 0)

// lastMove is when the call that waits since then saw the client take something.
func (s *watch) lastMove(since int64, now time.Duration) time.Duration {
	if s.since != since {
		s.since, s.moved = since, time.Duration(since)
	}
	if s.acknowledged == nil {
		return s.moved
	}
	count, known := s.acknowledged()
	if known && count >= s.count+s.least {
		s.count, s.moved = count, now
	}
	return s.moved
}

// end stops looking. The last bytes of the answer are still with the server then; they get one more pause.
func (s *watch) end() {
	if s.timeout <= 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	s.timer.Stop()
	_ = s.control.SetWriteDeadline(time.Now().Add(s.timeout))
}

package store

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"image.alauda.io/registry/pkg/registry/route"

	"github.com/google/uuid"
)

const (
	// writerRenewal is how often a writer says that it is alive, writerLost after which
	// silence of the storage it gives up, writerAge when others take it for dead.
	writerRenewal = 15 * time.Second
	writerLost    = 45 * time.Second
	writerAge     = 2 * time.Minute

	// releaseAttempts is how often the end of a writer is tried to be announced: what stays
	// holds up the client's next request, and a single reset by an object store is common.
	releaseAttempts = 3
)

// claim is the announcement of a writer in the storage. A session can be resumed on every
// replica, and a file system lets two processes write to one file: what one has verified
// and made a blob, the other could still change. So a writer announces itself first and
// then looks for others. Of two at the same time at least one sees the other and gives way.
type claim struct {
	store   *Store
	session string
	marker  string
	renewed atomic.Int64 // on the clock of the process
	stop    context.CancelFunc
	stopped chan struct{}
}

// claim announces a writer of a session, or fails with ErrUploadBusy or ErrUploadUnknown.
func (s *Store) claim(ctx context.Context, session string) (*claim, error) {
	c := &claim{store: s, session: session, marker: session + "/writers/" + uuid.NewString(), stopped: make(chan struct{})}
	if err := c.known(ctx); err != nil {
		return nil, err
	}
	ctx = context.WithoutCancel(ctx)
	if err := c.announce(ctx); err != nil {
		return nil, err
	}
	if err := c.lookForOthers(ctx); err != nil {
		_ = s.remove(ctx, c.marker) // otherwise it ends by its age
		return nil, err
	}
	ctx, c.stop = context.WithCancel(ctx)
	go c.keep(ctx)
	return c, nil
}

func (c *claim) known(ctx context.Context) error {
	_, err := c.store.stat(ctx, c.session+"/startedat")
	if errors.Is(err, ErrNotFound) {
		return fmt.Errorf("%s: %w", c.session, ErrUploadUnknown)
	}
	return err
}

// announce makes the marker. On a file system an empty file is enough, and half as much to
// wait for as content that is put in place.
func (c *claim) announce(ctx context.Context) error {
	start := time.Now()
	if err := c.store.sign(ctx, c.marker, nil); err != nil {
		return err
	}
	c.renewed.Store(start.UnixNano())
	return nil
}

// sign writes a marker in place. What is put in place instead takes its name from another file,
// and on some file systems a listing at this moment shows neither: somebody would be overlooked
// who says that he is alive. Object stores have but one way to write.
func (s *Store) sign(ctx context.Context, marker string, content []byte) error {
	if s.driver.Name() != filesystemDriver {
		if content == nil {
			content = []byte(time.Now().UTC().Format(time.RFC3339))
		}
		return s.put(ctx, marker, content)
	}
	writer, err := s.driver.Writer(ctx, marker, false)
	if err == nil {
		_, err = writer.Write(content)
		err = errors.Join(err, writer.Close())
	}
	if err != nil {
		return &Error{"write " + marker, err}
	}
	return nil
}

func (c *claim) renew(ctx context.Context) error {
	start := time.Now()
	if err := c.store.sign(ctx, c.marker, []byte(start.UTC().Format(time.RFC3339))); err != nil {
		return err
	}
	c.renewed.Store(start.UnixNano())
	return nil
}

func (c *claim) lookForOthers(ctx context.Context) error {
	entries, err := c.store.list(ctx, c.session+"/writers")
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry == c.marker || strings.HasSuffix(entry, unfinished) {
			continue
		}
		info, err := c.store.stat(ctx, entry)
		switch {
		case errors.Is(err, ErrNotFound):
			continue
		case err != nil:
			return err
		case c.store.options.Now().Sub(info.ModTime()) < writerAge:
			return fmt.Errorf("%s: %w", c.session, ErrUploadBusy)
		}
		if err := c.store.remove(ctx, entry); err != nil { // of a process that died
			return err
		}
	}
	return nil
}

func (c *claim) keep(ctx context.Context) {
	defer close(c.stopped)
	ticker := time.NewTicker(writerRenewal)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			_ = c.renew(ctx) // check notices when it fails for long
		}
	}
}

// check fails when others may take this writer for dead. Nil is the claim of a session
// whose id nobody else knows yet.
func (c *claim) check() error {
	if c == nil || time.Now().UnixNano()-c.renewed.Load() < int64(writerLost) {
		return nil
	}
	return &Error{"write " + c.session, errors.New("the storage took no sign of life, another writer may go on")}
}

// rest ends the renewal.
func (c *claim) rest() {
	c.stop()
	<-c.stopped
}

// end takes the announcement back, and with it what is left of a session that is over.
func (c *claim) end(ctx context.Context) {
	c.rest()
	ctx = context.WithoutCancel(ctx)
	for range releaseAttempts { // otherwise it ends by its age, or with old sessions
		path := c.marker
		if errors.Is(c.known(ctx), ErrUploadUnknown) {
			path = c.session
		}
		if c.store.remove(ctx, path) == nil {
			return
		}
	}
}

// dropStates removes the states of the hash that are ahead of the data. A process that died
// between writing the state and the last bytes leaves one, and after other bytes were
// appended it would vouch for what is not there.
func (s *Store) dropStates(ctx context.Context, name route.Name, id string, size int64) error {
	states, err := s.list(ctx, repositoryPath(name, "_uploads", id, "hashstates", "sha256"))
	if err != nil {
		return err
	}
	for _, state := range states {
		offset, err := strconv.ParseInt(path.Base(state), 10, 64)
		if err == nil && offset <= size {
			continue
		}
		if err := s.remove(ctx, state); err != nil {
			return err
		}
	}
	return nil
}

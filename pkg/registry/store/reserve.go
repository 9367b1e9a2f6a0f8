package store

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"syscall"
)

const (
	// reserveMarker is what KeepReserve sets aside.
	reserveMarker = markers + "/reserve"
	reserveBytes  = 1 << 20

	// roomMarker is written to learn whether the storage is full; what a removal announces is
	// smaller.
	roomMarker = markers + "/room"
	roomBytes  = 64 << 10
)

// KeepReserve sets a megabyte of a file system aside. Whatever is removed has to be announced,
// which takes a few blocks: without them nothing could be removed from a disk that is full. On
// other storages it does nothing. The error is a *WriteError unless it is one of reading.
func (s *Store) KeepReserve(ctx context.Context) error {
	if s.options.ReadOnly || s.driver.Name() != filesystemDriver {
		return nil
	}
	info, err := s.stat(ctx, reserveMarker)
	if err == nil && info.Size() == reserveBytes || err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	content := make([]byte, reserveBytes) // at random: some file systems store zeros nowhere
	_, _ = rand.Read(content)             // never fails
	if err := s.putWhole(ctx, reserveMarker, content); err != nil {
		return &WriteError{err}
	}
	return nil
}

// MakeRoom gives the reserve to removals if the storage is full. Until end is called no upload
// begins or is resumed: it would take that first. What fails is left for the removals to tell.
func (s *Store) MakeRoom(ctx context.Context) (end func()) {
	if s.options.ReadOnly || s.driver.Name() != filesystemDriver {
		return func() {}
	}
	err := s.putWhole(ctx, roomMarker, make([]byte, roomBytes))
	_ = s.remove(ctx, roomMarker) // it is written over by the next one
	var storage *Error
	if !errors.As(err, &storage) || !storage.Full() {
		return func() {}
	}
	s.makingRoom.Add(1)
	_ = s.remove(ctx, reserveMarker)
	return func() { s.makingRoom.Add(-1) }
}

// hasRoom fails while the last of a full storage belongs to removals.
func (s *Store) hasRoom() error {
	if s.makingRoom.Load() == 0 {
		return nil
	}
	return &Error{"upload while space is being freed", syscall.ENOSPC}
}

// putWhole writes a file, or nothing: the driver leaves what it could not put in place.
func (s *Store) putWhole(ctx context.Context, path string, content []byte) error {
	err := s.put(ctx, path, content)
	if err == nil {
		return nil
	}
	entries, _ := s.list(ctx, markers) // otherwise a later collection finds it
	for _, entry := range entries {
		if strings.HasPrefix(entry, path+".") && strings.HasSuffix(entry, unfinished) {
			_ = s.remove(ctx, entry)
		}
	}
	return err
}

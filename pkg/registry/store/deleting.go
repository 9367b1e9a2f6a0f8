package store

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
)

const (
	// MinimumAge is the smallest age at which bytes may be taken while pushes are served:
	// what a push relied on within the last five minutes is younger than that.
	MinimumAge = 2 * touchAge

	// decisionAge is how long the announcement and the look at the ages of a blob stay valid.
	decisionAge = 5 * time.Second
	// decisions bounds how often a slow storage lets a deletion start over.
	decisions = 5
	// removalTimeout ends a removal long before its marker loses its meaning.
	removalTimeout = deletingAge / 2
)

// Outcome is what became of the request to delete a blob.
type Outcome string

// The outcomes.
const (
	// Deleted: the bytes are gone.
	Deleted Outcome = "deleted"
	// Absent: there were no bytes.
	Absent Outcome = "absent"
	// Refused: the bytes must stay; the reason says why.
	Refused Outcome = "refused"
)

// Reason is why bytes were not deleted.
type Reason string

// The reasons.
const (
	// ReasonConstant: the digest is one that clients rely on without asking.
	ReasonConstant Reason = "clients rely on this content without asking for it"
	// ReasonBusy: somebody else deletes the same bytes.
	ReasonBusy Reason = "another deletion of it is under way"
	// ReasonYoung: the bytes were written within the minimum age.
	ReasonYoung Reason = "it was written a short time ago"
	// ReasonTouched: a push relied on the bytes within the minimum age.
	ReasonTouched Reason = "a push relied on it a short time ago"
	// ReasonSlow: the storage took too long between the look and the removal.
	ReasonSlow Reason = "the storage is too slow to delete it safely"
)

// Deletion is the result of DeleteBlob.
type Deletion struct {
	Digest  digest.Digest
	Outcome Outcome
	// Reason is set when Outcome is Refused.
	Reason Reason
	// FreedBytes is set when Outcome is Deleted.
	FreedBytes int64
}

// WriteError is a marker or a removal that failed. What was read before was sound, so
// other deletions may go on.
type WriteError struct{ Err error }

// Error implements error.
func (e *WriteError) Error() string { return e.Err.Error() }

// Unwrap gives the storage's error.
func (e *WriteError) Unwrap() error { return e.Err }

// constants are contents that clients take for granted: no bytes, the gzipped empty tar of
// docker and the empty JSON object of OCI artifacts.
var constants = []digest.Digest{
	"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
	"sha256:a3ed95caeb02ffe68cdd9fd84406680ae93d633cb16422d00e8a7c22955b46d4",
	"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
}

// Constants are the digests that DeleteBlob never takes.
func Constants() []digest.Digest { return slices.Clone(constants) }

// DeleteBlob takes bytes out of the storage unless they, or the last push that relied on
// them, are younger than minAge. It is the other side of Rely: on a storage that shows
// what was written, either this sees the push's marker or the push sees this one's. While
// pushes are served minAge must not be below MinimumAge.
//
// An error is *WriteError when a marker or the removal failed; then the marker stays, because
// a removal that timed out may still happen, unless the storage has refused it for good. Every
// other error is one of reading.
// Next to an error the outcome is Deleted if the bytes are gone, and empty otherwise.
func (s *Store) DeleteBlob(ctx context.Context, canonical digest.Digest, minAge time.Duration) (Deletion, error) {
	if slices.Contains(constants, canonical) {
		return Deletion{Digest: canonical, Outcome: Refused, Reason: ReasonConstant}, nil
	}
	d := &deleter{store: s, digest: canonical, minAge: minAge, id: deleterID()}
	result, err := d.run(ctx)
	result.Digest = canonical
	if result.Outcome != "" && s.options.OnDeletion != nil {
		s.options.OnDeletion(result)
	}
	return result, err
}

// TidyMarkers removes a touched marker older than minAge, and a deleting marker that a
// crash left, under the same announcement as a deletion: a push that relies on the bytes
// at this moment finds them absent and does not count on the marker that goes.
func (s *Store) TidyMarkers(ctx context.Context, canonical digest.Digest, minAge time.Duration) error {
	d := &deleter{store: s, digest: canonical, minAge: minAge, id: deleterID()}
	announced, _, err := d.announce(ctx)
	if err != nil || announced.IsZero() {
		return err
	}
	touched, err := s.Touched(ctx, canonical)
	switch {
	case errors.Is(err, ErrNotFound):
	case err != nil:
		return err
	case announced.Sub(touched) >= minAge:
		if err := d.write(s.remove(ctx, markerPath(touchedMarker, canonical))); err != nil {
			return err
		}
	}
	return d.withdraw(ctx)
}

func deleterID() string {
	raw := make([]byte, 16)
	_, _ = rand.Read(raw) // never fails
	return hex.EncodeToString(raw)
}

// deleter is one attempt to delete one blob.
type deleter struct {
	store  *Store
	digest digest.Digest
	minAge time.Duration
	id     string
}

func (d *deleter) run(ctx context.Context) (Deletion, error) {
	for range decisions {
		result, again, err := d.attempt(ctx)
		if err != nil || !again {
			return result, err
		}
	}
	result, _, err := refused(ReasonSlow, d.withdraw(ctx))
	return result, err
}

// attempt makes the steps of the protocol once.
func (d *deleter) attempt(ctx context.Context) (result Deletion, again bool, err error) {
	began := d.store.options.Now()
	announced, refusal, err := d.announce(ctx)
	if err != nil || announced.IsZero() {
		return refused(refusal, err)
	}
	reason, data, err := d.look(ctx, announced)
	switch {
	case errors.Is(err, ErrNotFound):
		// Nothing that was not seen is removed, only what a deletion leaves behind.
		if err := d.removeMarkers(ctx); err != nil {
			return Deletion{}, false, err
		}
		return Deletion{Outcome: Absent}, false, nil
	case err != nil:
		return Deletion{}, false, also(err, d.withdraw(ctx))
	case reason != "":
		return refused(reason, d.withdraw(ctx))
	}
	// A deletion by somebody else that began in the same moment may have replaced the
	// announcement, or ended and taken it away. Without it pushes would not see this one.
	if own, err := d.owns(ctx); err != nil || !own {
		return refused(ReasonBusy, err)
	}
	if now := d.store.options.Now(); now.Sub(began) >= decisionAge || now.Before(began) {
		return Deletion{}, true, nil
	}
	if err := ctx.Err(); err != nil {
		return Deletion{}, false, also(err, d.withdraw(ctx))
	}
	result, err = d.removeData(ctx, data.Size)
	return result, false, err
}

func refused(reason Reason, err error) (Deletion, bool, error) {
	if err != nil {
		return Deletion{}, false, err
	}
	return Deletion{Outcome: Refused, Reason: reason}, false, nil
}

// also adds the failure to clean up to the error that came before. That one decides: after an
// error of reading nobody may go on because there was a *WriteError as well.
func also(err, cleaning error) error {
	if err == nil || cleaning == nil {
		return errors.Join(err, cleaning)
	}
	return fmt.Errorf("%w; %v", err, cleaning) //nolint:errorlint // hidden on purpose
}

// announce writes the deleting marker and returns the time that the storage gave it, or
// the zero time with the reason why somebody else comes first.
func (d *deleter) announce(ctx context.Context) (time.Time, Reason, error) {
	path := markerPath(deletingMarker, d.digest)
	marker, err := d.store.stat(ctx, path)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return time.Time{}, "", err
	}
	if err == nil && d.store.options.Now().Sub(marker.ModTime()) < deletingAge {
		if own, err := d.owns(ctx); err != nil || !own {
			return time.Time{}, ReasonBusy, err
		}
	}
	if err := d.store.put(ctx, path, []byte(d.id)); err != nil {
		return time.Time{}, "", d.write(also(err, d.withdraw(ctx))) // it may be there all the same
	}
	marker, err = d.store.stat(ctx, path)
	if errors.Is(err, ErrNotFound) {
		return time.Time{}, ReasonBusy, nil
	}
	if err != nil {
		return time.Time{}, "", err
	}
	own, err := d.owns(ctx)
	if err != nil || !own {
		return time.Time{}, ReasonBusy, err
	}
	// The storage's own clock is the one that dates data and markers. The earlier of both
	// clocks makes everything look younger, never older.
	if now := d.store.options.Now(); now.Before(marker.ModTime()) {
		return now, "", nil
	}
	return marker.ModTime(), "", nil
}

// owns reads the deleting marker.
func (d *deleter) owns(ctx context.Context) (bool, error) {
	raw, err := d.store.get(ctx, markerPath(deletingMarker, d.digest))
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil && string(raw) == d.id, err
}

// look reads the ages. The touched marker comes first: a push writes it before it looks
// for the announcement.
func (d *deleter) look(ctx context.Context, announced time.Time) (Reason, Info, error) {
	touched, err := d.store.Touched(ctx, d.digest)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return "", Info{}, err
	}
	relied := err == nil && announced.Sub(touched) < d.minAge
	data, err := d.store.Stat(ctx, d.digest)
	switch {
	case err != nil:
		return "", Info{}, err
	case relied:
		return ReasonTouched, data, nil
	case announced.Sub(data.ModTime) < d.minAge:
		return ReasonYoung, data, nil
	}
	return "", data, nil
}

// removeData takes the bytes and their markers, the announcement last. Nothing that was begun
// is left half done because a client went away. Bytes that a push put in their place at this
// moment stay.
func (d *deleter) removeData(ctx context.Context, size int64) (Deletion, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removalTimeout)
	defer cancel()
	if d.store.options.OnDelete != nil {
		d.store.options.OnDelete(d.digest)
	}
	err := d.store.remove(ctx, blobDirectory(d.digest))
	if isDefinite(err) {
		switch _, statErr := d.store.Stat(ctx, d.digest); {
		case errors.Is(statErr, ErrNotFound):
			err = nil // they went, and only the directory is in use
		case statErr != nil:
		case isWrittenAgain(err):
			result, _, err := refused(ReasonYoung, d.withdraw(ctx))
			return result, err
		default:
			return Deletion{}, d.write(also(err, d.withdraw(ctx)))
		}
	}
	if err != nil {
		return Deletion{}, d.write(err)
	}
	return Deletion{Outcome: Deleted, FreedBytes: size}, d.removeMarkers(ctx)
}

// removeMarkers takes the markers of bytes that are gone. The announcement stays for a while if
// the removal of the other one may still happen: it could take the marker of a later push.
func (d *deleter) removeMarkers(ctx context.Context) error {
	err := d.store.remove(ctx, markerPath(touchedMarker, d.digest))
	if err == nil {
		return d.withdraw(ctx)
	}
	if isDefinite(err) {
		err = also(err, d.withdraw(ctx))
	}
	return d.write(err)
}

// withdraw removes the announcement if it is still this deleter's: that of another must
// stay, because pushes trust it.
func (d *deleter) withdraw(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removalTimeout)
	defer cancel()
	if own, err := d.owns(ctx); err != nil || !own {
		return err
	}
	return d.write(d.store.remove(ctx, markerPath(deletingMarker, d.digest)))
}

func (d *deleter) write(err error) error {
	if err == nil {
		return nil
	}
	return &WriteError{fmt.Errorf("delete %s: %w", d.digest, err)}
}

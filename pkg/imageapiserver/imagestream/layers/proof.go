package layers

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// sparseMargin is how far back an event of an incomplete index is dated, so
	// that no child which comes from now on is older than it. Times have whole
	// seconds, and clocks of replicas differ a little.
	sparseMargin = 5 * time.Second
	// maxSkew is how much later than now, by the clock of another replica, a
	// child may have been recorded.
	maxSkew = time.Minute
)

// Proof returns the time of an event by which an image that comes now proves
// what is below it: a child is taken to have been there if it is not younger
// than the event. When all children are there, that is now, or the time of the
// youngest by another replica's clock. When some are missing, it is a little
// before now: they may come in this very second, brought by somebody else.
func Proof(ctx context.Context, index Index, now time.Time, digest string, children []string) (time.Time, error) {
	records, missing, err := collect(ctx, index, distinct(append(children, digest)))
	if errors.Is(err, ErrNotSynced) {
		// Nothing is known to be there.
		return now.Add(-sparseMargin), nil
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("children of image %s: %w", digest, err)
	}
	delete(missing, digest)
	if len(missing) > 0 {
		return now.Add(-sparseMargin), nil
	}
	proven := now
	for name, record := range records {
		if name == digest {
			continue
		}
		if !record.Managed {
			return now.Add(-sparseMargin), nil
		}
		if record.Created.After(proven) && record.Created.Sub(now) <= maxSkew {
			proven = record.Created
		}
	}
	return proven, nil
}

func distinct(digests []string) []string {
	seen := make(map[string]bool, len(digests))
	var list []string
	for _, digest := range digests {
		if !seen[digest] {
			seen[digest] = true
			list = append(list, digest)
		}
	}
	return list
}

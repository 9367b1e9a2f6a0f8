package transfer

import (
	"context"
	"crypto/sha256"
	"fmt"
)

// Migrate copies everything from one store to another and compares both afterwards. The number of
// differences is what is damaged in the source, could not be written, or is not the same on both
// sides in the end.
func Migrate(ctx context.Context, from, to *Store, overwrite bool, report Report) (summary *Summary, differences int, err error) {
	w := newWriter(ctx, to, overwrite, report)
	for _, r := range from.resources {
		err := r.walk(ctx, func(e entry) error {
			if e.err != nil {
				w.fail(r.Resource.Resource.Resource, "%s %s is damaged in the source: %v", r.kind, e.key, e.err)
				return nil
			}
			if err := w.write(e.obj.json); err != nil {
				w.fail(r.Resource.Resource.Resource, "%v", err)
			}
			return ctx.Err()
		})
		if err != nil {
			summary, err = w.finish(err)
			return summary, 0, err
		}
	}
	if summary, err = w.finish(nil); err != nil {
		return summary, 0, err
	}
	differences, err = compare(ctx, from, to, report)
	return summary, differences, err
}

// damagedSum stands for what could not be read.
var damagedSum = [sha256.Size]byte{}

// compare reports every object that the stores do not hold alike, and counts them.
func compare(ctx context.Context, from, to *Store, report Report) (int, error) {
	differences := 0
	for i, r := range from.resources {
		source, err := r.sums(ctx)
		if err != nil {
			return differences, err
		}
		target, err := to.resources[i].sums(ctx)
		if err != nil {
			return differences, err
		}
		for key, sum := range source {
			copied, found := target[key]
			switch {
			case !found:
				report("different: %s %s is only in %s", r.kind, key, from.Backend)
			case sum == damagedSum || copied == damagedSum:
				report("different: %s %s is damaged", r.kind, key)
			case copied != sum:
				report("different: %s %s in %s is not what it is in %s", r.kind, key, to.Backend, from.Backend)
			default:
				continue
			}
			differences++
		}
		for key := range target {
			if _, found := source[key]; !found {
				report("different: %s %s is only in %s", r.kind, key, to.Backend)
				differences++
			}
		}
	}
	return differences, nil
}

// sums returns a checksum of each object.
func (s *resourceStore) sums(ctx context.Context) (map[string][sha256.Size]byte, error) {
	sums := map[string][sha256.Size]byte{}
	err := s.walk(ctx, func(e entry) error {
		if _, twice := sums[e.key]; twice {
			return fmt.Errorf("%s %s is stored twice", s.kind, e.key)
		}
		sums[e.key] = damagedSum
		if e.err == nil {
			sums[e.key] = sha256.Sum256(e.obj.json)
		}
		return nil
	})
	return sums, err
}

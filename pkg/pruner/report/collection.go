package report

import (
	"fmt"

	"image.alauda.io/registry/pkg/pruner/registry"
)

// KindCollectionReport is the kind of the document about a collection alone.
const KindCollectionReport = "CollectionReport"

// Kinds of items about the registry.
const (
	KindManifestLink = "manifest-link"
	KindLayerLink    = "layer-link"
	KindBlob         = "blob"
	KindRepository   = "repository"
	KindRegistry     = "registry"
)

// NewCollection starts a report about a collection alone.
func NewCollection(r *Report) *Report {
	r.Kind = KindCollectionReport
	return r
}

// Planned adds what a dry run found: a line for each blob and repository that the registry names, which are
// the first thousand, and the numbers of all.
func (r *Report) Planned(found registry.Collection) error {
	r.Collection = withoutLists(found)
	if r.DryRun {
		r.Summary.BlobsDeleted, r.Summary.BytesReclaimed = int(found.CandidateCount), found.CandidateBytes
	}
	if err := r.blobs(WouldDelete, found); err != nil {
		return err
	}
	for _, name := range found.RepositoryNames {
		if err := r.Add(Item{Action: WouldDelete, Kind: KindRepository, Name: name}); err != nil {
			return err
		}
	}
	return nil
}

// Collected adds what a collection did: its numbers, and a line for each deletion that failed. With blobs,
// each blob that the registry names gets a line as well, if it is sure that all of them went.
func (r *Report) Collected(done registry.Collection, blobs bool) error {
	r.Collection = withoutLists(done)
	r.Summary.BlobsDeleted += int(done.DeletedBlobs)
	r.Summary.BytesReclaimed += done.FreedBytes
	r.Summary.Skipped += int(done.Refused)
	for _, text := range done.Errors {
		if err := r.Add(Item{Action: Failed, Kind: KindBlob, Name: "collection " + done.ID, Error: text}); err != nil {
			return err
		}
	}
	if blobs && done.DeletedBlobs == done.CandidateCount {
		return r.blobs(Deleted, done)
	}
	return nil
}

func (r *Report) blobs(action string, collection registry.Collection) error {
	for _, candidate := range collection.Candidates {
		if err := r.Add(Item{Action: action, Kind: KindBlob, Digest: candidate.Digest, SizeBytes: candidate.Size}); err != nil {
			return err
		}
	}
	return nil
}

// withoutLists: what the lists name are items.
func withoutLists(collection registry.Collection) *registry.Collection {
	collection.Candidates, collection.RepositoryNames = nil, nil
	return &collection
}

// CollectionLine is the last line of the text form of a report about a collection alone.
func (r *Report) CollectionLine() string {
	c := r.Collection
	switch {
	case c == nil:
		return "No collection was made"
	case r.DryRun:
		return fmt.Sprintf("Would delete %d blobs, %d links, %d repositories, freeing %s of %s",
			c.CandidateCount, c.Links, c.Repositories, Bytes(c.CandidateBytes), Bytes(c.TotalBytes))
	}
	return fmt.Sprintf("Deleted %d blobs, %d links, %d repositories, freed %s, refused %d",
		c.DeletedBlobs, c.DeletedLinks, c.DeletedRepositories, Bytes(c.FreedBytes), c.Refused)
}

// Bytes renders a size in binary units, such as 4.2GiB.
func Bytes(size int64) string {
	if size < 1024 {
		return fmt.Sprintf("%dB", size)
	}
	value, unit := float64(size), ""
	for _, unit = range []string{"KiB", "MiB", "GiB", "TiB", "PiB"} {
		if value /= 1024; value < 1023.95 {
			break
		}
	}
	return fmt.Sprintf("%.1f%s", value, unit)
}

// lastLine ends the text form.
func (r *Report) lastLine() string {
	if r.Kind == KindCollectionReport {
		return r.CollectionLine()
	}
	return r.SummaryLine()
}

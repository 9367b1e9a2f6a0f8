package collect

import (
	"fmt"

	imageregistryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/pruner/registry"
)

// tolerated is how many blobs, or repositories, may go whatever share of all they are: in a small storage
// every share is great.
const tolerated = 20

// RefusedError is a collection that must not be. Nothing was deleted.
type RefusedError struct{ Reason string }

// Error implements error.
func (e *RefusedError) Error() string {
	return "the collection was refused, nothing was deleted: " + e.Reason
}

func refused(format string, args ...any) error {
	return &RefusedError{Reason: fmt.Sprintf(format, args...)}
}

// Cluster is what the guards look at.
type Cluster struct {
	// Images counts all of them.
	Images int
	// Incomplete is the name of an Image of which nobody knows what it consists of; empty if there is none.
	Incomplete string
	// Blocked: Config says that nothing may be collected.
	Blocked bool
}

// Guard refuses what the registry would refuse as well, in clearer words.
func Guard(cluster Cluster, allowEmptyMetadata bool) error {
	switch {
	case cluster.Blocked:
		return refused("Config %s has the annotation %s, which is there while images of another registry are taken over; remove it when that is done",
			imageregistryv1.SingletonName, imageregistryv1.BlockGCAnnotation)
	case cluster.Incomplete != "":
		return refused("Image %s is incomplete, so nobody knows which blobs it needs; complete it by pushing or importing it again, or delete it", cluster.Incomplete)
	case cluster.Images == 0 && !allowEmptyMetadata:
		return refused("there is no Image in the cluster, so everything in the storage would go; give --allow-empty-metadata if that is meant")
	}
	return nil
}

// GuardShare refuses a collection that would take more than the given share, in percent.
func GuardShare(found registry.Collection, percent int) error {
	if tooMany(found.CandidateCount, found.TotalBlobs, percent) {
		return refused("%d of %d blobs would be deleted, more than --max-delete-percent=%d allows", found.CandidateCount, found.TotalBlobs, percent)
	}
	if tooMany(found.Repositories, found.TotalRepositories, percent) {
		return refused("%d of %d repositories would be deleted, more than --max-delete-percent=%d allows", found.Repositories, found.TotalRepositories, percent)
	}
	return nil
}

func tooMany(part, whole int64, percent int) bool {
	return part > tolerated && float64(part)*100 > float64(percent)*float64(whole)
}

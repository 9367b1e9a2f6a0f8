package importer

import (
	"time"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/oci/remote/keyring"
)

// Request is what one call of Import looks up. The context of the call is its budget.
type Request struct {
	// Tenant is who the request is for, the namespace. Tenants do not take the places of each other; the
	// empty one is the server itself.
	Tenant string
	// Items are single images, looked up before the repository.
	Items []Item
	// Repository is a whole repository, nil for none.
	Repository *RepositoryItem
	// Keyring holds the credentials that the request may use; nil means anonymous.
	Keyring *keyring.Keyring
	// StreamInsecure makes every item insecure: the stream carries the annotation
	// alauda.io/image.insecureRepository.
	StreamInsecure bool
	// ItemTimeout bounds each item, for work in the background. Zero leaves items to the
	// deadline of the context.
	ItemTimeout time.Duration
	// Scheduled says that a timer and not a person asked. It labels metrics only.
	Scheduled bool
}

// Policy says how an image is looked up and which child of an index is preferred.
type Policy struct {
	// Insecure allows plain HTTP and unverified TLS.
	Insecure bool
	// ImportMode says what becomes of an index; empty is PreserveOriginal.
	ImportMode imageapi.ImportModeType
	// Platform is preferred in mode Legacy. Empty members mean the server's own.
	Platform Platform
	// IncludeManifest leaves the raw manifest and config on the images of the result,
	// children included. Without it they are never there.
	IncludeManifest bool
}

// Platform names what an image runs on, in words of GOARCH and GOOS.
type Platform struct {
	Arch string
	OS   string
}

// Item is one image to look up.
type Item struct {
	// From is the pull spec as the user wrote it. Without tag and digest it means latest.
	From string
	Policy
	// LastDigest is the image that the tag shows now. When it is set, the registry is
	// first asked for the digest alone, and if that leads to the same image the item ends
	// as Unchanged. Set it only if mode and platform are those of the last import.
	LastDigest string
}

// RepositoryItem is a repository whose tags are looked up.
type RepositoryItem struct {
	// From is the pull spec of the repository, without tag and digest.
	From string
	Policy
	// Platforms are preferred for single tags and override Policy.Platform.
	Platforms map[string]Platform
	// LastDigests are the images that tags show now, see Item.LastDigest.
	LastDigests map[string]string
	// Limit is the number of tags to look up; 0 means the configured one, negative the
	// most that is allowed.
	Limit int
}

// Result is what Import found. Items has one entry for each item, in the same order;
// Repository is set when a repository was asked for.
type Result struct {
	Items      []ItemResult
	Repository *RepositoryResult
}

// ItemResult is the outcome for one image: exactly one of Image, Err and Unchanged is set.
// Nothing in it is shared with another entry.
type ItemResult struct {
	// Image is described but for what a stream knows. Its name is the digest.
	Image *imageapi.Image
	// Children are the images of an index that exist, each before those that contain it,
	// so that storing them in this order and Image last never leaves a gap.
	Children []*imageapi.Image
	// Reference is the most specific pull spec with the digest, on the registry and path
	// that the user wrote.
	Reference string
	// Tag is the tag that was looked up; empty for a digest.
	Tag string
	// RemoteDigest is the digest under which the registry offers it now: that of the
	// index, even if one child was taken.
	RemoteDigest string
	// Note is a remark for the user that is not an error, such as children of an index
	// that the registry does not have.
	Note string
	// Unchanged says that the registry still offers LastDigest.
	Unchanged bool
	// Err says why there is no image.
	Err *Error
	// Unfinished says that Err is the end of the budget and not an answer: the item may
	// be tried again as it is.
	Unfinished bool
}

// RepositoryResult is the outcome for a repository.
type RepositoryResult struct {
	// Tags are the outcomes by tag, the most important first.
	Tags []ItemResult
	// AdditionalTags are the names of further tags, the most important first.
	AdditionalTags []string
	// Err says why the tags could not be listed. When tags were listed and some of them
	// failed, it is nil: see Summary.
	Err *Error
	// Unfinished is that of ItemResult, for the listing.
	Unfinished bool
}

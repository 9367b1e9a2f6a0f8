package recovery

import (
	"context"
	"errors"
	"fmt"
	"io"

	"image.alauda.io/registry/pkg/registry/store"

	"github.com/opencontainers/go-digest"
)

// Lister prints what is in the storage: a line for each thing, its fields separated by tabs.
// Names that are not understood go to Problems and make the run fail in the end, so that
// nobody takes the list for complete.
type Lister struct {
	Store            *store.Store
	Output, Problems io.Writer
}

// errOdd says that something was passed by.
var errOdd = errors.New("something in the storage was not understood and is not in the list")

// Repositories prints `repository	<name>`.
func (l Lister) Repositories(ctx context.Context) error {
	return l.list(func(inventory store.Inventory) error {
		return inventory.Repositories(ctx, func(repository string) error { return l.print("repository", repository) })
	})
}

// Blobs prints `blob	<digest>`.
func (l Lister) Blobs(ctx context.Context) error {
	return l.list(func(inventory store.Inventory) error {
		return inventory.Blobs(ctx, func(d digest.Digest) error { return l.print("blob", d.String()) })
	})
}

// Manifests prints `manifest	<repository>	<digest>` for every repository.
func (l Lister) Manifests(ctx context.Context) error {
	return l.list(func(inventory store.Inventory) error {
		return inventory.Repositories(ctx, func(repository string) error { return l.manifests(ctx, inventory, repository) })
	})
}

// ManifestsFrom prints the manifests of one repository. One that has none may be mistyped,
// which is an error.
func (l Lister) ManifestsFrom(ctx context.Context, repository string) error {
	found := false
	err := l.list(func(inventory store.Inventory) error {
		return inventory.Repositories(ctx, func(one string) error {
			if one != repository {
				return nil
			}
			found = true
			return l.manifests(ctx, inventory, repository)
		})
	})
	if err == nil && !found {
		return fmt.Errorf("there is no repository %q in the storage", repository)
	}
	return err
}

func (l Lister) manifests(ctx context.Context, inventory store.Inventory, repository string) error {
	return inventory.Links(ctx, repository, store.Revisions, func(linked, _ digest.Digest) error {
		return l.print("manifest", repository, linked.String())
	})
}

func (l Lister) list(walk func(store.Inventory) error) error {
	var odd error
	inventory := store.Inventory{Store: l.Store, Odd: func(path string, reason error) {
		fmt.Fprintf(l.Problems, "%q: %s\n", path, reason)
		odd = errOdd
	}}
	if err := walk(inventory); err != nil {
		return err
	}
	return odd
}

func (l Lister) print(fields ...string) error {
	for i, field := range fields {
		end := "\t"
		if i == len(fields)-1 {
			end = "\n"
		}
		if _, err := io.WriteString(l.Output, field+end); err != nil {
			return fmt.Errorf("write the list: %w", err)
		}
	}
	return nil
}

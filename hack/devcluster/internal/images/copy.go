package images

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
)

// CopyFrom gives the target every image that files brought to another node and
// that is still there unchanged. What the other node pulled by itself stays
// behind: a new node has to pull it, too. The file holds the images meanwhile.
func (t *Target) CopyFrom(ctx context.Context, source *Target, file string) error {
	if err := t.copyFrom(ctx, source, file); err != nil {
		return fmt.Errorf("copy the images of %s to %s: %w", source.Node, t.Node, err)
	}
	return nil
}

func (t *Target) copyFrom(ctx context.Context, source *Target, file string) error {
	t.lock.Lock()
	defer t.lock.Unlock()
	there, err := source.list(ctx)
	if err != nil {
		return err
	}
	here, err := t.list(ctx)
	if err != nil {
		return err
	}
	from, known := source.read(), t.read()
	wanted, missing := from.current(there), []string(nil)
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		if here[name] != wanted[name] {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		defer os.Remove(file)
		if _, err := source.ctr(ctx, append([]string{"images", "export", file}, missing...)...); err != nil {
			return err
		}
		if _, err := t.ctr(ctx, "images", "import", file); err != nil {
			return err
		}
		if here, err = t.list(ctx); err != nil {
			return err
		}
	}
	for name, digest := range wanted {
		if here[name] != digest {
			return fmt.Errorf("image %s arrived as %q instead of %s", name, here[name], digest)
		}
	}
	// The next file with the same images has nothing to bring.
	for hash, images := range from {
		if from.holds(hash, slices.Collect(maps.Keys(images)), here) {
			known[hash] = images
		}
	}
	return t.write(known)
}

// current are the images of all files that the node still has as they came.
func (r record) current(have map[string]string) map[string]string {
	images := map[string]string{}
	for _, file := range r {
		for name, digest := range file {
			if digest != "" && have[name] == digest {
				images[name] = digest
			}
		}
	}
	return images
}

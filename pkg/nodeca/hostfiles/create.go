package hostfiles

import (
	"context"
	"errors"
	"os"
	"slices"

	"image.alauda.io/registry/pkg/nodeca/fsroot"
)

// atOnce is how many directories are made together. The first flush of a file system that keeps a
// journal writes down what was begun before it, so the others of the batch cost little.
const atOnce = 128

// creation is a directory that is to appear complete: a runtime never sees it without its CA.
type creation struct {
	want     Want
	decision decision
	// temp is the name it has until everything in it is on the disk.
	temp  string
	dir   *fsroot.Dir
	files []*fsroot.Staged
	err   error
}

// create makes the directories of all hosts that have none.
func (s *syncer) create(ctx context.Context, root *fsroot.Dir) {
	for batch := range slices.Chunk(s.creates, atOnce) {
		if ctx.Err() != nil {
			return
		}
		for i := range batch {
			batch[i].stage(root)
		}
		for i := range batch {
			batch[i].flush()
		}
		for i := range batch {
			s.publish(root, &batch[i])
		}
		s.dirty = true
	}
}

// stage writes all files under a temporary name.
func (c *creation) stage(root *fsroot.Dir) {
	c.temp = tempName()
	if c.dir, c.err = root.Mkdir(c.temp, dirMode); c.err != nil {
		return
	}
	for _, f := range append(slices.Clone(c.decision.writes), file{MarkerFile, c.decision.marker.encode()}) {
		var staged *fsroot.Staged
		if staged, c.err = c.dir.Stage(f.name, f.data, fileMode); c.err != nil {
			return
		}
		c.files = append(c.files, staged)
	}
}

// flush brings all of it to the disk.
func (c *creation) flush() {
	for _, f := range c.files {
		if err := f.Finish(); c.err == nil {
			c.err = err
		}
	}
	if c.dir == nil {
		return
	}
	if c.err == nil {
		c.err = c.dir.Sync()
	}
	c.dir.Close()
}

// publish gives a complete directory its name and removes an incomplete one.
func (s *syncer) publish(root *fsroot.Dir, c *creation) {
	if c.err == nil {
		c.err = root.RenameNew(c.temp, c.want.Host)
	}
	if c.err != nil {
		err := c.err
		if _, statErr := root.Lstat(c.temp); !errors.Is(statErr, os.ErrNotExist) {
			err = errors.Join(err, removeOwn(root, c.temp))
		}
		s.fail(c.want.Host, err)
		return
	}
	s.result.Written += len(c.decision.writes)
	s.result.Satisfied = append(s.result.Satisfied, c.want.Host)
}

// settle makes the names in the root durable, if any changed.
func (s *syncer) settle(root *fsroot.Dir) {
	if !s.dirty {
		return
	}
	if err := root.Sync(); err != nil {
		s.fail("", err)
	}
}

// fill writes the files of a new directory one after the other.
func fill(dir *fsroot.Dir, files []file) error {
	for _, f := range files {
		if err := dir.WriteNew(f.name, f.data, fileMode); err != nil {
			return err
		}
	}
	return dir.Sync()
}

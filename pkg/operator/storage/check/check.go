// Package check works with a storage the way the registry does and tells what did not work.
//
// In come the variables of the registry's Pod, as the environment of this process. Out comes one
// preflight.Result. The drivers are those of the registry, so what works here works there.
//
// All that is written lies in a directory of its own below .preflight/ in the root of the storage and is
// removed again, also after a failure. The package never reads or writes anything else, and never makes a
// bucket.
package check

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/factory"

	// Drivers register themselves by being imported.
	_ "github.com/distribution/distribution/v3/registry/storage/driver/azure"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/gcs"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/s3-aws"

	"image.alauda.io/registry/pkg/operator/storage/preflight"
)

const (
	// root is above everything that a check writes.
	root = "/.preflight"
	// objectSize is the size of the small object, rangeFrom where the second read of it begins.
	objectSize, rangeFrom = 1024, 1000
	// partSize is above the smallest part that object stores take.
	partSize = 5<<20 + 1
	// abandoned is the age at which the directory of a check that was killed is removed.
	abandoned = time.Hour
	// cleaning is the time for removing what a failed check left.
	cleaning = 5 * time.Second
)

// Options of a check.
type Options struct {
	// Timeout bounds it.
	Timeout time.Duration
	// ListOnly only lists the root.
	ListOnly bool
	// Now is the clock.
	Now func() time.Time
}

// FromEnvironment checks the storage that the environment of this process describes.
func FromEnvironment(ctx context.Context, options Options) preflight.Result {
	ctx, cancel := context.WithTimeout(ctx, options.Timeout)
	defer cancel()
	config, err := configuration.Parse(strings.NewReader("version: 0.1\nstorage: {inmemory: {}}\n"))
	if err != nil {
		return preflight.Result{Step: preflight.StepConfigure, Reason: invalidConfiguration, Text: "the variables of the storage cannot be read"}
	}
	if maintenance, there := config.Storage["maintenance"]; there && maintenance["readonly"] != nil {
		options.ListOnly = true
	}
	opened, err := factory.Create(ctx, config.Storage.Type(), config.Storage.Parameters())
	if err != nil {
		return failure(ctx, preflight.StepOpen, err, options.Timeout)
	}
	return Driver(ctx, opened, options)
}

// Driver checks an open storage. The context must end.
func Driver(ctx context.Context, d driver.StorageDriver, options Options) preflight.Result {
	c := &check{driver: d, options: options}
	step, err := c.run(ctx)
	if err == nil {
		return preflight.Result{OK: true}
	}
	if c.dir != "" {
		c.clean(ctx)
	}
	return failure(ctx, step, err, options.Timeout)
}

type check struct {
	driver  driver.StorageDriver
	options Options
	// dir is set as soon as something may be in it.
	dir    string
	writer driver.FileWriter
}

func (c *check) run(ctx context.Context) (string, error) {
	if c.options.ListOnly {
		return preflight.StepList, c.listRoot(ctx)
	}
	c.dir = root + "/" + strconv.FormatInt(c.options.Now().Unix(), 16) + "-" + strings.ToLower(rand.Text())
	content := pattern(objectSize)
	object := c.dir + "/object"
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{preflight.StepWrite, func() error { return c.driver.PutContent(ctx, object, content) }},
		{preflight.StepRead, func() error {
			got, err := c.driver.GetContent(ctx, object)
			return same(got, content, err)
		}},
		{preflight.StepRange, func() error {
			got, err := c.readFrom(ctx, object, rangeFrom)
			return same(got, content[rangeFrom:], err)
		}},
		{preflight.StepList, func() error { return c.list(ctx, object) }},
		{preflight.StepMultipart, func() error { return c.multipart(ctx, c.dir+"/parts") }},
		{preflight.StepDelete, func() error { return c.delete(ctx, object) }},
	} {
		if err := step.do(); err != nil {
			return step.name, err
		}
	}
	c.removeAbandoned(ctx)
	return "", nil
}

// pattern is content that differs everywhere.
func pattern(size int) []byte {
	content := make([]byte, size)
	for i := range content {
		content[i] = byte(i*7 + i>>8)
	}
	return content
}

// contentError is an answer without an error that is not what was written.
type contentError struct{ text string }

func (e contentError) Error() string { return e.text }

func same(got, want []byte, err error) error {
	if err == nil && !bytes.Equal(got, want) {
		return contentError{fmt.Sprintf("%d bytes came back that are not the %d that were written", len(got), len(want))}
	}
	return err
}

func (c *check) listRoot(ctx context.Context) error {
	_, err := c.driver.List(ctx, "/")
	if missing(err) {
		return nil
	}
	return err
}

func (c *check) list(ctx context.Context, object string) error {
	entries, err := c.driver.List(ctx, c.dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry == object {
			return nil
		}
	}
	return contentError{"what was written is not in the list"}
}

func (c *check) readFrom(ctx context.Context, object string, offset int64) ([]byte, error) {
	reader, err := c.driver.Reader(ctx, object, offset)
	if err != nil {
		return nil, err
	}
	got, err := io.ReadAll(io.LimitReader(reader, 2*objectSize))
	return got, errors.Join(err, reader.Close())
}

func (c *check) multipart(ctx context.Context, object string) error {
	writer, err := c.driver.Writer(ctx, object, false)
	if err != nil {
		return err
	}
	c.writer = writer
	if _, err := writer.Write(pattern(partSize)); err != nil {
		return err
	}
	if err := writer.Commit(ctx); err != nil {
		return err
	}
	c.writer = nil
	if err := writer.Close(); err != nil {
		return err
	}
	info, err := c.driver.Stat(ctx, object)
	if err == nil && info.Size() != partSize {
		err = contentError{fmt.Sprintf("the object has %d bytes instead of %d", info.Size(), partSize)}
	}
	return err
}

func (c *check) delete(ctx context.Context, object string) error {
	if err := c.driver.Delete(ctx, c.dir); err != nil {
		return err
	}
	_, err := c.driver.Stat(ctx, object)
	switch {
	case err == nil:
		return contentError{"what was deleted is still there"}
	case missing(err):
		return nil
	}
	return err
}

// clean removes what a failed check left. It has a time of its own: mostly the check failed because it had none.
func (c *check) clean(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleaning)
	defer cancel()
	if c.writer != nil {
		_ = c.writer.Cancel(ctx) // the next check looks for what is left
	}
	_ = c.driver.Delete(ctx, c.dir)
}

// removeAbandoned removes the directories of checks that were killed. That they stay is no fault of the storage.
func (c *check) removeAbandoned(ctx context.Context) {
	directories, err := c.driver.List(ctx, root)
	if err != nil {
		return
	}
	for _, directory := range directories {
		began, _, _ := strings.Cut(directory[strings.LastIndex(directory, "/")+1:], "-")
		seconds, err := strconv.ParseInt(began, 16, 64)
		if err == nil && c.options.Now().Sub(time.Unix(seconds, 0)) > abandoned {
			_ = c.driver.Delete(ctx, directory)
		}
	}
}

func missing(err error) bool {
	var notFound driver.PathNotFoundError
	return errors.As(err, &notFound) || errors.Is(err, os.ErrNotExist)
}

package snapshot

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/clock"

	"image.alauda.io/registry/pkg/pruner/objects"
	"image.alauda.io/registry/pkg/pruner/roots"
)

const (
	pageAttempts = 6
	pageDelay    = 500 * time.Millisecond
	// restarts bounds how often an expired list begins again.
	restarts = 5
)

type listFunc func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error)

// readFunc reads one page.
type readFunc func(ctx context.Context, options metav1.ListOptions) (page, error)

// page has been read; what is on it is still to be visited.
type page struct {
	objects.Page
	// visit shows the items to who asked for the list and counts them. The next page is read meanwhile. Nil
	// means that this happened while the page was read.
	visit func() (items int, err error)
}

// pager reads whole lists.
type pager struct {
	clock     clock.Clock
	chunkSize int64
	progress  func(kind string, read int)
}

// each calls visit for every item. restart is called before a list begins again, to drop what it
// yielded so far.
func (p pager) each(ctx context.Context, what string, list listFunc, restart func(), visit func(runtime.Object) error) error {
	_, _, err := p.whole(ctx, what, visiting(list, visit), restart)
	return err
}

// visiting shows visit the items of each page.
func visiting(list listFunc, visit func(runtime.Object) error) readFunc {
	return func(ctx context.Context, options metav1.ListOptions) (page, error) {
		read, err := list(ctx, options)
		if err != nil {
			return page{}, err
		}
		accessor, err := meta.ListAccessor(read)
		if err != nil {
			return page{}, err
		}
		return page{
			Page:  objects.Page{Continue: accessor.GetContinue(), ResourceVersion: accessor.GetResourceVersion()},
			visit: func() (int, error) { return meta.LenList(read), meta.EachListItem(read, visit) },
		}, nil
	}
}

// whole reads all pages, from the beginning again when the list expired meanwhile. It returns the number
// of items and the version that the list shows.
func (p pager) whole(ctx context.Context, what string, read readFunc, restart func()) (items int, version string, err error) {
	for attempt := 0; ; attempt++ {
		items, version, err = p.once(ctx, what, read)
		if !apierrors.IsResourceExpired(err) && !apierrors.IsGone(err) || attempt == restarts {
			if err != nil {
				return 0, "", fmt.Errorf("list %s: %w", what, err)
			}
			return items, version, nil
		}
		restart()
	}
}

// once reads every page, the next one while the last one is visited.
func (p pager) once(ctx context.Context, what string, read readFunc) (items int, version string, err error) {
	ctx, cancel := context.WithCancel(ctx)
	var coming <-chan pageRead
	defer func() {
		// Nothing is visited any more when the list begins again.
		cancel()
		if coming != nil {
			<-coming
		}
	}()
	options := metav1.ListOptions{Limit: p.chunkSize}
	seen := map[string]bool{}
	for coming = p.ahead(ctx, read, options); ; {
		next := <-coming
		coming = nil
		if next.err != nil {
			return 0, "", next.err
		}
		options.Continue = next.Continue
		if !seen[next.Continue] && next.Continue != "" {
			coming = p.ahead(ctx, read, options)
		}
		if next.visit != nil {
			if next.Items, err = next.visit(); err != nil {
				return 0, "", err
			}
		}
		if items += next.Items; p.progress != nil {
			p.progress(what, items)
		}
		if next.Continue == "" {
			return items, next.ResourceVersion, nil
		}
		if seen[next.Continue] {
			return 0, "", errors.New("the API server leads back to a page that was read already")
		}
		seen[next.Continue] = true
	}
}

// pageRead is what came of reading a page.
type pageRead struct {
	page
	err error
}

// ahead reads a page in the background.
func (p pager) ahead(ctx context.Context, read readFunc, options metav1.ListOptions) <-chan pageRead {
	done := make(chan pageRead, 1)
	go func() {
		next, err := p.page(ctx, read, options)
		done <- pageRead{next, err}
	}()
	return done
}

// page reads one page, several times if the server is only busy, and not before the server asked to be
// asked again.
func (p pager) page(ctx context.Context, read readFunc, options metav1.ListOptions) (page, error) {
	delay := pageDelay
	for attempt := 1; ; attempt++ {
		asked, advice := withAdvice(ctx)
		read, err := read(asked, options)
		if err == nil || attempt == pageAttempts || !roots.Passing(err) || ctx.Err() != nil {
			return read, err
		}
		wait := delay
		if seconds, ok := apierrors.SuggestsClientDelay(err); ok {
			wait = max(wait, min(time.Duration(seconds)*time.Second, maxAdvice))
		}
		select {
		case <-ctx.Done():
			return page{}, errors.Join(err, ctx.Err())
		case <-p.clock.After(max(wait, advice.wait())):
		}
		delay *= 2
	}
}

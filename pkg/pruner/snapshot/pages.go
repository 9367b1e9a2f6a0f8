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

// readFunc reads one page and what is on it.
type readFunc func(ctx context.Context, options metav1.ListOptions) (objects.Page, error)

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
	return func(ctx context.Context, options metav1.ListOptions) (objects.Page, error) {
		page, err := list(ctx, options)
		if err != nil {
			return objects.Page{}, err
		}
		if err := meta.EachListItem(page, visit); err != nil {
			return objects.Page{}, err
		}
		accessor, err := meta.ListAccessor(page)
		if err != nil {
			return objects.Page{}, err
		}
		return objects.Page{Continue: accessor.GetContinue(), ResourceVersion: accessor.GetResourceVersion(), Items: meta.LenList(page)}, nil
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

func (p pager) once(ctx context.Context, what string, read readFunc) (items int, version string, err error) {
	options := metav1.ListOptions{Limit: p.chunkSize}
	seen := map[string]bool{}
	for {
		page, err := p.page(ctx, read, options)
		if err != nil {
			return 0, "", err
		}
		if items += page.Items; p.progress != nil {
			p.progress(what, items)
		}
		if page.Continue == "" {
			return items, page.ResourceVersion, nil
		}
		if seen[page.Continue] {
			return 0, "", errors.New("the API server leads back to a page that was read already")
		}
		seen[page.Continue] = true
		options.Continue = page.Continue
	}
}

// page reads one page, several times if the server is only busy, and not before the server asked to be
// asked again.
func (p pager) page(ctx context.Context, read readFunc, options metav1.ListOptions) (objects.Page, error) {
	delay := pageDelay
	for attempt := 1; ; attempt++ {
		asked, advice := withAdvice(ctx)
		page, err := read(asked, options)
		if err == nil || attempt == pageAttempts || !roots.Passing(err) || ctx.Err() != nil {
			return page, err
		}
		wait := delay
		if seconds, ok := apierrors.SuggestsClientDelay(err); ok {
			wait = max(wait, min(time.Duration(seconds)*time.Second, maxAdvice))
		}
		select {
		case <-ctx.Done():
			return objects.Page{}, errors.Join(err, ctx.Err())
		case <-p.clock.After(max(wait, advice.wait())):
		}
		delay *= 2
	}
}

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
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/utils/clock"
)

const (
	pageAttempts = 6
	pageDelay    = 500 * time.Millisecond
	// restarts bounds how often an expired list begins again.
	restarts = 5
)

type listFunc func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error)

// pager reads whole lists.
type pager struct {
	clock     clock.Clock
	chunkSize int64
	progress  func(kind string, read int)
}

// each calls visit for every item. restart is called before a list begins again, to drop what it
// yielded so far.
func (p pager) each(ctx context.Context, what string, list listFunc, restart func(), visit func(runtime.Object) error) error {
	for attempt := 0; ; attempt++ {
		err := p.once(ctx, what, list, visit)
		if !apierrors.IsResourceExpired(err) && !apierrors.IsGone(err) || attempt == restarts {
			if err != nil {
				return fmt.Errorf("list %s: %w", what, err)
			}
			return nil
		}
		restart()
	}
}

func (p pager) once(ctx context.Context, what string, list listFunc, visit func(runtime.Object) error) error {
	options := metav1.ListOptions{Limit: p.chunkSize}
	read := 0
	for {
		page, err := p.page(ctx, list, options)
		if err != nil {
			return err
		}
		if err := meta.EachListItem(page, visit); err != nil {
			return err
		}
		accessor, err := meta.ListAccessor(page)
		if err != nil {
			return err
		}
		if read += meta.LenList(page); p.progress != nil {
			p.progress(what, read)
		}
		if accessor.GetContinue() == "" {
			return nil
		}
		options.Continue = accessor.GetContinue()
	}
}

// page reads one page, several times if the server is only busy.
func (p pager) page(ctx context.Context, list listFunc, options metav1.ListOptions) (runtime.Object, error) {
	delay := pageDelay
	for attempt := 1; ; attempt++ {
		page, err := list(ctx, options)
		if err == nil || attempt == pageAttempts || !transient(err) || ctx.Err() != nil {
			return page, err
		}
		wait := delay
		if seconds, ok := apierrors.SuggestsClientDelay(err); ok {
			wait = max(wait, time.Duration(seconds)*time.Second)
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(err, ctx.Err())
		case <-p.clock.After(wait):
		}
		delay *= 2
	}
}

// transient tells a busy or restarting server from one that refuses.
func transient(err error) bool {
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		code := status.Status().Code
		return code == 429 || code >= 500
	}
	return utilnet.IsConnectionReset(err) || utilnet.IsConnectionRefused(err) || utilnet.IsProbableEOF(err) ||
		utilnet.IsTimeout(err) || errors.Is(err, context.DeadlineExceeded)
}

package snapshot

import (
	"context"
	"errors"
	"sync/atomic"

	"k8s.io/client-go/rest"

	imagev1 "image.alauda.io/api/image/v1"
)

// Warnings hears what the Image API says beside its answers. A list that lacks streams would make their
// images look unused.
type Warnings struct {
	incomplete atomic.Bool
}

var _ rest.WarningHandlerWithContext = &Warnings{}

// HandleWarningHeaderWithContext implements rest.WarningHandlerWithContext. Other warnings are logged.
func (w *Warnings) HandleWarningHeaderWithContext(ctx context.Context, code int, agent, text string) {
	if text == imagev1.WarningIncompleteList {
		w.incomplete.Store(true)
	}
	rest.WarningLogger{}.HandleWarningHeaderWithContext(ctx, code, agent, text)
}

// forget begins anew.
func (w *Warnings) forget() {
	if w != nil {
		w.incomplete.Store(false)
	}
}

// check returns an error if a list since the last forget was incomplete.
func (w *Warnings) check() error {
	if w != nil && w.incomplete.Load() {
		return errors.New("the Image API left damaged objects out of a list; its log names them")
	}
	return nil
}

package fault

import (
	"errors"
	"fmt"
	"testing"
)

func TestJoinedFaultsAreTakenApartByClass(t *testing.T) {
	permanent := Permanentf("NoBucket", "spec.storage.s3.bucket of %s is empty", "Config cluster")
	waiting := WaitingFor("Secret %s", "a")
	transient := errors.New("connection refused")
	tests := map[string]struct {
		err                           error
		permanent, waiting, transient int
	}{
		"nothing":                    {nil, 0, 0, 0},
		"one of each":                {errors.Join(permanent, waiting, transient), 1, 1, 1},
		"joined twice":               {errors.Join(errors.Join(permanent, nil), errors.Join(waiting, errors.Join(transient, transient))), 1, 1, 2},
		"the same fault twice":       {errors.Join(permanent, Permanentf("X", "b"), Permanentf("X", "b")), 2, 0, 0},
		"wrapped keeps its class":    {fmt.Errorf("remove the storage: %w", permanent), 1, 0, 0},
		"wrapped waiting":            {fmt.Errorf("remove the storage: %w", waiting), 0, 1, 0},
		"several wrapped in one":     {fmt.Errorf("both: %w, %w", waiting, errors.New("x")), 0, 1, 1},
		"anything else is transient": {transient, 0, 0, 1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := Sort(test.err)
			if len(got.Permanent) != test.permanent || len(got.Waiting) != test.waiting || len(got.Transient) != test.transient {
				t.Errorf("%d permanent, %d waiting, %d transient; want %d, %d, %d", len(got.Permanent), len(got.Waiting), len(got.Transient),
					test.permanent, test.waiting, test.transient)
			}
		})
	}
}

func TestMessagesAreComplete(t *testing.T) {
	got := Sort(errors.Join(Permanentf("NoBucket", "field %s", "x"), WaitingFor("Secret %s", "a")))
	if p := got.Permanent[0]; p.Reason != "NoBucket" || p.Message != "field x" || p.Error() != "NoBucket: field x" {
		t.Errorf("permanent: %+v, %q", p, p.Error())
	}
	if w := got.Waiting[0]; w.For != "Secret a" || w.Error() != "waiting for Secret a" {
		t.Errorf("waiting: %+v, %q", w, w.Error())
	}
}

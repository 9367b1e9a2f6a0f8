package main

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/prometheus/prometheus/model/histogram"
)

// series is a storage in memory, as much of one as the engine asks for.
type series struct{ all []*entry }

type entry struct {
	labels  labels.Labels
	samples []chunks.Sample
}

// load adds a series in the notation of Prometheus' tests, such as "up{job="x"}" with "1x5 0x10".
func (s *series) load(name, values string, interval time.Duration) error {
	set, sequence, err := parser.NewParser(parser.Options{}).ParseSeriesDesc(name + " " + values)
	if err != nil {
		return fmt.Errorf("series %s: %w", name, err)
	}
	for i, value := range sequence {
		if !value.Omitted {
			s.add(set, int64(i)*interval.Milliseconds(), value.Value)
		}
	}
	return nil
}

func (s *series) add(set labels.Labels, at int64, value float64) {
	for _, have := range s.all {
		if labels.Equal(have.labels, set) {
			have.samples = append(have.samples, sample{at, value})
			return
		}
	}
	s.all = append(s.all, &entry{set, []chunks.Sample{sample{at, value}}})
}

// Querier implements storage.Queryable.
func (s *series) Querier(from, to int64) (storage.Querier, error) { return querier{s, from, to}, nil }

type querier struct {
	*series
	from, to int64
}

func (q querier) Select(_ context.Context, _ bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	var out []storage.Series
	for _, one := range q.all {
		if !matches(one.labels, matchers) {
			continue
		}
		var within []chunks.Sample
		for _, s := range one.samples {
			if s.T() >= q.from && s.T() <= q.to {
				within = append(within, s)
			}
		}
		out = append(out, storage.NewListSeries(one.labels, within))
	}
	return &set{all: out, at: -1}
}

func matches(set labels.Labels, matchers []*labels.Matcher) bool {
	for _, m := range matchers {
		if !m.Matches(set.Get(m.Name)) {
			return false
		}
	}
	return true
}

func (querier) LabelValues(context.Context, string, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, nil
}

func (querier) LabelNames(context.Context, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, nil
}

func (querier) Close() error { return nil }

// set walks over the series of one selection.
type set struct {
	all []storage.Series
	at  int
}

func (s *set) Next() bool                        { s.at++; return s.at < len(s.all) }
func (s *set) At() storage.Series                { return s.all[s.at] }
func (s *set) Err() error                        { return nil }
func (s *set) Warnings() annotations.Annotations { return nil }

// sample is a value at a time in milliseconds.
type sample struct {
	t int64
	v float64
}

func (s sample) ST() int64                     { return 0 }
func (s sample) T() int64                      { return s.t }
func (s sample) F() float64                    { return s.v }
func (s sample) H() *histogram.Histogram       { return nil }
func (s sample) FH() *histogram.FloatHistogram { return nil }
func (s sample) Type() chunkenc.ValueType      { return chunkenc.ValFloat }
func (s sample) Copy() chunks.Sample           { return s }

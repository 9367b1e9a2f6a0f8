package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"github.com/prometheus/prometheus/promql/parser"
)

// use is one metric in a query, and what the query asks of it.
type use struct {
	Where  string `json:"where"`
	Metric string `json:"metric"`
	// Labels are those that a selector compares, or that an aggregation or a match around it names.
	Labels []string `json:"labels,omitempty"`
	// Functions are called on it, from the inside out; for a range the first is the one that reads the range.
	Functions []string `json:"functions,omitempty"`
	// Kept are the labels that the result of the whole query can have, nil if all of the metric's.
	Kept []string `json:"kept,omitempty"`
}

// printUses reads queries by where they stand, and prints each metric in them with what is asked of it.
func printUses(in io.Reader, out io.Writer) error {
	var queries map[string]string
	if err := json.NewDecoder(in).Decode(&queries); err != nil {
		return fmt.Errorf("queries: %w", err)
	}
	var all []use
	for where, query := range queries {
		expr, err := parser.NewParser(parser.Options{}).ParseExpr(query)
		if err != nil {
			return fmt.Errorf("%s: %s: %w", where, query, err)
		}
		all = append(all, usesOf(where, expr)...)
	}
	return json.NewEncoder(out).Encode(all)
}

func usesOf(where string, expr parser.Expr) []use {
	var found []use
	parser.Inspect(expr, func(node parser.Node, path []parser.Node) error {
		selector, ok := node.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		one := use{Where: where, Metric: selector.Name}
		for _, matcher := range selector.LabelMatchers {
			if matcher.Name != "__name__" {
				one.Labels = append(one.Labels, matcher.Name)
			}
		}
		added := map[string]bool{} // labels that a function made, which no metric needs to have
		for _, outer := range slices.Backward(path) {
			one.pass(outer, added)
		}
		found = append(found, one)
		return nil
	})
	return found
}

// pass adds what a node around the metric asks of it.
func (u *use) pass(node parser.Node, added map[string]bool) {
	switch n := node.(type) {
	case *parser.Call:
		u.Functions = append(u.Functions, n.Func.Name)
		if n.Func.Name == "label_replace" {
			if target, ok := n.Args[1].(*parser.StringLiteral); ok {
				added[target.Val] = true
			}
			if source, ok := n.Args[3].(*parser.StringLiteral); ok {
				u.Labels = append(u.Labels, source.Val)
			}
		}
	case *parser.AggregateExpr:
		u.Functions = append(u.Functions, n.Op.String())
		u.ask(n.Grouping, added)
		if !n.Without {
			u.Kept = append([]string{}, n.Grouping...)
		}
	case *parser.BinaryExpr:
		if n.VectorMatching != nil && n.VectorMatching.On {
			u.ask(n.VectorMatching.MatchingLabels, added)
		}
	}
}

func (u *use) ask(labels []string, added map[string]bool) {
	for _, label := range labels {
		if !added[label] {
			u.Labels = append(u.Labels, label)
		}
	}
}

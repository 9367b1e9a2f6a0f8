// Command promrules checks a PrometheusRule as Prometheus itself reads it, and runs it against series.
//
// In: the YAML of the object, and a file of cases in the form that the unit tests of Prometheus' own tools
// have: series, and at which time which alerts fire. Out: one line for each deviation and exit code 1. Or in:
// queries as JSON on standard input; out: the metrics in them, and what is asked of each. It asks no server and
// keeps nothing; the time is the one of the series.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"
)

func main() {
	if slices.Equal(os.Args[1:], []string{"uses"}) {
		if err := printUses(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "promrules:", err)
			os.Exit(1)
		}
		return
	}
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: promrules RULES.yaml CASES.yaml\n       promrules uses < QUERIES.json")
		os.Exit(2)
	}
	problems, err := run(os.Args[1], os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, "promrules:", err)
		os.Exit(1)
	}
	for _, problem := range problems {
		fmt.Println(problem)
	}
	if len(problems) > 0 {
		os.Exit(1)
	}
}

// cases is the second file.
type cases struct {
	Interval model.Duration `yaml:"evaluation_interval"`
	Tests    []testCase     `yaml:"tests"`
}

type testCase struct {
	Name string `yaml:"name"`
	// Groups are those that are there, all of them without a name.
	Groups []string `yaml:"groups"`
	Series []struct {
		Series string `yaml:"series"`
		Values string `yaml:"values"`
	} `yaml:"input_series"`
	Alerts []struct {
		At    model.Duration      `yaml:"eval_time"`
		Fires []map[string]string `yaml:"fires"`
	} `yaml:"alert_rule_test"`
	Records []struct {
		At      model.Duration     `yaml:"eval_time"`
		Samples map[string]float64 `yaml:"samples"`
	} `yaml:"record_test"`
}

func run(rulesFile, casesFile string) ([]string, error) {
	groups, err := readRules(rulesFile)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(casesFile)
	if err != nil {
		return nil, err
	}
	var all cases
	if err := yaml.Unmarshal(data, &all); err != nil {
		return nil, fmt.Errorf("%s: %w", casesFile, err)
	}
	if len(all.Tests) == 0 || all.Interval == 0 {
		return nil, fmt.Errorf("%s has no tests or no evaluation_interval", casesFile)
	}
	var problems []string
	fired := map[string]bool{}
	for _, test := range all.Tests {
		found, err := runCase(groups, test, time.Duration(all.Interval), fired)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", test.Name, err)
		}
		for _, problem := range found {
			problems = append(problems, test.Name+": "+problem)
		}
	}
	for _, rule := range rulesOf(groups) {
		if rule.Alert != "" && !fired[rule.Alert] {
			problems = append(problems, "no case expects "+rule.Alert)
		}
	}
	return problems, nil
}

// readRules reads the groups of a PrometheusRule strictly, with its templates.
func readRules(file string) (*rulefmt.RuleGroups, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var object struct {
		Spec yaml.Node `yaml:"spec"`
	}
	if err := yaml.Unmarshal(data, &object); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	spec, err := yaml.Marshal(&object.Spec)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	groups, errs := rulefmt.Parse(spec, false, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
	if len(errs) > 0 {
		return nil, fmt.Errorf("%s: %v", file, errs)
	}
	if len(rulesOf(groups)) == 0 {
		return nil, fmt.Errorf("%s has no rules", file)
	}
	return groups, nil
}

func rulesOf(groups *rulefmt.RuleGroups, names ...string) []rulefmt.Rule {
	var out []rulefmt.Rule
	for _, group := range groups.Groups {
		if len(names) == 0 || slices.Contains(names, group.Name) {
			out = append(out, group.Rules...)
		}
	}
	return out
}

// runCase evaluates all rules at every interval until the last expectation.
func runCase(groups *rulefmt.RuleGroups, test testCase, interval time.Duration, fired map[string]bool) ([]string, error) {
	store := &series{}
	for _, input := range test.Series {
		if err := store.load(input.Series, input.Values, interval); err != nil {
			return nil, err
		}
	}
	e := &evaluation{
		engine: promql.NewEngine(promql.EngineOpts{
			Logger: slog.New(slog.DiscardHandler), MaxSamples: 1e6, Timeout: time.Minute, Parser: parser.NewParser(parser.Options{}),
		}),
		store: store, rules: rulesOf(groups, test.Groups...), since: map[string]time.Time{}, lacking: map[string]bool{},
	}
	var last model.Duration
	for _, expect := range test.Alerts {
		last = max(last, expect.At)
	}
	for _, expect := range test.Records {
		last = max(last, expect.At)
	}
	var problems []string
	for at := time.Duration(0); at <= time.Duration(last); at += interval {
		if err := e.step(time.Unix(0, 0).Add(at)); err != nil {
			return nil, err
		}
		for _, expect := range test.Alerts {
			if time.Duration(expect.At) == at {
				problems = append(problems, e.compare(at, expect.Fires, fired)...)
			}
		}
		for _, expect := range test.Records {
			if time.Duration(expect.At) == at {
				problems = append(problems, e.compareRecords(at, expect.Samples)...)
			}
		}
	}
	return append(problems, slices.Sorted(maps.Keys(e.lacking))...), nil
}

// evaluation is one case on its way.
type evaluation struct {
	engine *promql.Engine
	store  *series
	rules  []rulefmt.Rule
	// since is when an alert with its labels began to hold, firing are those that held for long enough.
	since   map[string]time.Time
	firing  []labels.Labels
	records map[string]float64
	// lacking are annotations that name a label which the alert does not have.
	lacking map[string]bool
}

var namedLabel = regexp.MustCompile(`\$labels\.(\w+)`)

// lack notes the labels that the texts of an alert name and the alert has not.
func (e *evaluation) lack(rule rulefmt.Rule, have labels.Labels) {
	for name, text := range rule.Annotations {
		for _, match := range namedLabel.FindAllStringSubmatch(text, -1) {
			if have.Get(match[1]) == "" {
				e.lacking[fmt.Sprintf("%s of %s names label %s, which the alert does not have", name, rule.Alert, match[1])] = true
			}
		}
	}
}

func (e *evaluation) step(now time.Time) error {
	e.firing, e.records = nil, map[string]float64{}
	held := map[string]bool{}
	for _, rule := range e.rules {
		vector, err := e.query(rule.Expr, now)
		if err != nil {
			return fmt.Errorf("%s%s: %w", rule.Alert, rule.Record, err)
		}
		for _, sample := range vector {
			b := labels.NewBuilder(sample.Metric)
			b.Del(labels.MetricName)
			for name, value := range rule.Labels {
				b.Set(name, value)
			}
			if rule.Record != "" {
				b.Set(labels.MetricName, rule.Record)
				e.store.add(b.Labels(), now.UnixMilli(), sample.F)
				e.records[b.Labels().String()] = sample.F
				continue
			}
			b.Set("alertname", rule.Alert)
			key := b.Labels().String()
			held[key] = true
			if _, ok := e.since[key]; !ok {
				e.since[key] = now
			}
			if now.Sub(e.since[key]) >= time.Duration(rule.For) {
				e.firing = append(e.firing, b.Labels())
				e.lack(rule, b.Labels())
			}
		}
	}
	for key := range e.since {
		if !held[key] {
			delete(e.since, key)
		}
	}
	return nil
}

func (e *evaluation) query(expr string, now time.Time) (promql.Vector, error) {
	query, err := e.engine.NewInstantQuery(context.Background(), e.store, nil, expr, now)
	if err != nil {
		return nil, err
	}
	defer query.Close()
	result := query.Exec(context.Background())
	if result.Err != nil {
		return nil, result.Err
	}
	vector, err := result.Vector()
	return slices.Clone(vector), err
}

// compare reports alerts that fire and should not, and the other way round. An expected alert names its
// alertname and as many labels as the case cares for.
func (e *evaluation) compare(at time.Duration, want []map[string]string, fired map[string]bool) []string {
	var problems []string
	open := slices.Clone(e.firing)
	for _, expected := range want {
		i := slices.IndexFunc(open, func(have labels.Labels) bool {
			for name, value := range expected {
				if have.Get(name) != value {
					return false
				}
			}
			return true
		})
		if i < 0 {
			problems = append(problems, fmt.Sprintf("at %s %v does not fire", at, expected))
			continue
		}
		fired[expected["alertname"]] = true
		open = slices.Delete(open, i, i+1)
	}
	for _, unexpected := range open {
		problems = append(problems, fmt.Sprintf("at %s fires unasked: %s", at, unexpected))
	}
	return problems
}

func (e *evaluation) compareRecords(at time.Duration, want map[string]float64) []string {
	var problems []string
	for name, value := range want {
		if have, ok := e.records[name]; !ok || have != value {
			problems = append(problems, fmt.Sprintf("at %s %s is %v, want %v; recorded: %s", at, name, have, value, e.recorded()))
		}
	}
	return problems
}

func (e *evaluation) recorded() string {
	var names []string
	for name, value := range e.records {
		names = append(names, fmt.Sprintf("%s %v", name, value))
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

package main

import (
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"time"
)

// row is one measurement of all contenders.
type row struct {
	workload
	samples map[string][]sample
}

// report collects what was measured.
type report struct {
	options options
	rows    []*row
	memory  []memoryRow
	starts  []startRow
}

func newReport(o options) *report { return &report{options: o} }

func (r *report) add(one *row) { r.rows = append(r.rows, one) }

// median of values that are there, with the lowest and the highest.
func median[T int64 | float64 | time.Duration](values []T) (middle, low, high T) {
	if len(values) == 0 {
		return 0, 0, 0
	}
	sorted := slices.Clone(values)
	slices.Sort(sorted)
	return sorted[len(sorted)/2], sorted[0], sorted[len(sorted)-1]
}

func (r *row) rates(contender string) (values []float64) {
	for _, s := range r.samples[contender] {
		values = append(values, s.perSecond)
	}
	return values
}

// ratio is the median of this registry divided by that of a reference, 0 without one.
func (r *row) ratio(reference string) float64 {
	own, _, _ := median(r.rates(contenderOurs))
	other, _, _ := median(r.rates(reference))
	if other == 0 {
		return 0
	}
	return own / other
}

// rate shows operations or, where content is large, MiB in a second.
func (r *row) rate(contender string) string {
	values := r.rates(contender)
	if len(values) == 0 {
		return ""
	}
	format := "%.0f (%.0f–%.0f)/s"
	if r.size >= mib {
		format = "%.0f (%.0f–%.0f) MiB/s"
		for i := range values {
			values[i] *= float64(r.size) / mib
		}
	}
	middle, low, high := median(values)
	return fmt.Sprintf(format, middle, low, high)
}

func (r *row) cpu(contender string) string {
	var own, api []time.Duration
	for _, s := range r.samples[contender] {
		own, api = append(own, s.cpu), append(api, s.apiCPU)
	}
	if len(own) == 0 {
		return ""
	}
	middle, _, _ := median(own)
	text := milliseconds(middle)
	if behind, _, _ := median(api); behind > 0 {
		text += " + " + milliseconds(behind)
	}
	return text
}

func milliseconds(d time.Duration) string { return fmt.Sprintf("%.2f", d.Seconds()*1000) }

func (r *row) percentile(contender string, part float64) time.Duration {
	var all []time.Duration
	for _, s := range r.samples[contender] {
		all = append(all, s.latencies...)
	}
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[min(int(float64(len(all))*part), len(all)-1)]
}

// progress is the line that is shown while the run goes on.
func (r *row) progress() string {
	text := fmt.Sprintf("%-36s %4d clients  ", r.name, r.clients)
	for _, name := range []string{contenderOurs, contenderStock, contenderFiles} {
		if rate := r.rate(name); rate != "" {
			text += fmt.Sprintf(" %s %s [%s ms]", name, rate, r.cpu(name))
		}
	}
	return text
}

// print writes the document and returns how many budgets were missed.
func (r *report) print(w io.Writer) int {
	mode := "quick"
	if r.options.full {
		mode = "full"
	}
	protocol := "HTTP/1.1"
	if r.options.http2 {
		protocol = "HTTP/2"
	}
	fmt.Fprintf(w, "%s, %s/%s, %d processors, %s with TLS, %d rounds of %s (%s). Each server is a process of its own; clients, servers and image API share the machine.\n",
		runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), protocol, r.options.rounds, r.options.each, mode)
	r.printRates(w)
	r.printLatencies(w)
	r.printMemory(w)
	r.printStarts(w)
	return r.printBudgets(w)
}

func (r *report) printRates(w io.Writer) {
	table := newTable("Throughput, median (lowest–highest)", "What", "Clients", "This registry", "distribution v3.1.2", "ServeContent", "to distribution", "to ServeContent", "CPU ms: this + API", "distribution", "ServeContent")
	for _, row := range r.rows {
		if row.latency {
			continue
		}
		table.add(row.name, fmt.Sprint(row.clients), row.rate(contenderOurs), row.rate(contenderStock), row.rate(contenderFiles),
			times(row.ratio(contenderStock)), times(row.ratio(contenderFiles)), row.cpu(contenderOurs), row.cpu(contenderStock), row.cpu(contenderFiles))
	}
	table.print(w)
}

func times(ratio float64) string {
	if ratio == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", ratio)
}

func (r *report) printLatencies(w io.Writer) {
	table := newTable("Latency, p50 / p99", "What", "Clients", "This registry", "distribution v3.1.2")
	for _, row := range r.rows {
		if !row.latency {
			continue
		}
		show := func(name string) string {
			return fmt.Sprintf("%s / %s ms", milliseconds(row.percentile(name, .5)), milliseconds(row.percentile(name, .99)))
		}
		table.add(row.name, fmt.Sprint(row.clients), show(contenderOurs), show(contenderStock))
	}
	table.print(w)
}

func (r *report) printMemory(w io.Writer) {
	table := newTable("Memory (anonymous)", "What", "Server", "Transfers", "Before", "Peak", "For each transfer", "Peak with files")
	for _, m := range r.memory {
		table.add(m.what, m.contender, fmt.Sprint(m.transfers), mebibytes(m.before), mebibytes(m.peak), fmt.Sprintf("%d KiB", m.perTransfer/kib), mebibytes(m.high))
	}
	table.print(w)
}

func mebibytes(n int64) string { return fmt.Sprintf("%d MiB", n/mib) }

func (r *report) printStarts(w io.Writer) {
	table := newTable("From start until ready, with content", "Server", "Median (lowest–highest)")
	for _, s := range r.starts {
		middle, low, high := median(s.took)
		table.add(s.contender, fmt.Sprintf("%s (%s–%s) ms", milliseconds(middle), milliseconds(low), milliseconds(high)))
	}
	table.print(w)
}

func (r *report) printBudgets(w io.Writer) (missed int) {
	table := newTable("Budgets", "What", "Budget", "Reached", "")
	for _, b := range r.budgets() {
		verdict := "met"
		if !b.met {
			verdict = "**missed**"
			missed++
		}
		table.add(b.what, b.limit, b.reached, verdict)
	}
	table.print(w)
	return missed
}

// table is a Markdown table; without rows it is not printed.
type table struct {
	title string
	lines []string
}

func newTable(title string, columns ...string) *table {
	return &table{title: title, lines: []string{line(columns), "|" + strings.Repeat("---|", len(columns))}}
}

func line(cells []string) string { return "| " + strings.Join(cells, " | ") + " |" }

func (t *table) add(cells ...string) { t.lines = append(t.lines, line(cells)) }

func (t *table) print(w io.Writer) {
	if len(t.lines) > 2 {
		fmt.Fprintf(w, "\n%s:\n\n%s\n", t.title, strings.Join(t.lines, "\n"))
	}
}

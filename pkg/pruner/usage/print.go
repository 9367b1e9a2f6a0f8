package usage

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"sigs.k8s.io/yaml"

	"image.alauda.io/registry/pkg/pruner/report"
)

const (
	none = "<none>"
	// shownDigest is how much of a parent's digest is shown.
	shownDigest = 20
	// gap is what stands between columns.
	gap = 3
)

// PrintImages writes the rows in the format text, wide, json or yaml.
func PrintImages(out io.Writer, rows *Images, format string) error {
	if format == "json" || format == "yaml" {
		return list(out, "ImageUsageList", format, rows.Len(), func(i int) any { return rows.Row(i) })
	}
	header := []string{"NAME", "IMAGESTREAMTAG", "PARENTS", "USAGE", "METADATA", "STORAGE"}
	return table(out, header, rows.Len(), func(i int) []string {
		row := rows.Row(i)
		metadata := "no"
		if row.Metadata {
			metadata = "yes"
		}
		return []string{row.Digest, places(row.ImageStreamTags), parents(row), more(row.Usage, row.MoreUsage), metadata, report.Bytes(row.Storage)}
	})
}

// PrintStreams writes the rows in the format text, wide, json or yaml.
func PrintStreams(out io.Writer, rows []Stream, format string) error {
	if format == "json" || format == "yaml" {
		return list(out, "ImageStreamUsageList", format, len(rows), func(i int) any { return rows[i] })
	}
	header := []string{"NAME", "STORAGE", "IMAGES", "LAYERS"}
	if format == "wide" {
		header = append(header, "REVISIONS", "HISTORY-STORAGE", "RECLAIMABLE")
	}
	return table(out, header, len(rows), func(i int) []string {
		row := rows[i]
		cells := []string{row.Namespace + "/" + row.Name, report.Bytes(row.Storage), fmt.Sprint(row.Images), fmt.Sprint(row.Layers)}
		if format == "wide" {
			cells = append(cells, fmt.Sprint(row.Revisions), report.Bytes(row.HistoryStorage), report.Bytes(row.Reclaimable))
		}
		return cells
	})
}

func places(all []Place) string {
	var texts []string
	for _, place := range all {
		texts = append(texts, fmt.Sprintf("%s/%s (%s)", place.Namespace, place.Name, strings.Join(place.Tags, ",")))
	}
	return more(texts, 0)
}

func parents(row Image) string {
	var short []string
	for _, digest := range row.Parents {
		short = append(short, digest[:min(shownDigest, len(digest))])
	}
	return more(short, row.MoreParents)
}

// more joins names and counts those that are missing.
func more(names []string, missing int) string {
	text := strings.Join(names, ", ")
	switch {
	case text == "":
		return none
	case missing > 0:
		return fmt.Sprintf("%s and %d more", text, missing)
	}
	return text
}

// table writes rows under a header. They are made twice, to learn how wide the columns are, instead of
// being kept.
func table(out io.Writer, header []string, count int, row func(int) []string) error {
	widths := make([]int, len(header))
	measure := func(cells []string) {
		for i, cell := range cells {
			widths[i] = max(widths[i], utf8.RuneCountInString(report.OneLine(cell)))
		}
	}
	measure(header)
	for i := range count {
		measure(row(i))
	}
	buffered := bufio.NewWriter(out)
	write := func(cells []string) {
		for i, cell := range cells {
			cell = report.OneLine(cell) // owners of Pods may be called anything
			buffered.WriteString(cell)
			if i < len(cells)-1 {
				buffered.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+gap))
			}
		}
		buffered.WriteByte('\n')
	}
	write(header)
	for i := range count {
		write(row(i))
	}
	return buffered.Flush()
}

// list writes a document with the rows as items, one after the other.
func list(out io.Writer, kind, format string, count int, item func(int) any) error {
	buffered := bufio.NewWriter(out)
	if format == "json" {
		fmt.Fprintf(buffered, "{\n  \"apiVersion\": %q,\n  \"kind\": %q,\n  \"items\": [", apiVersion, kind)
	} else {
		fmt.Fprintf(buffered, "apiVersion: %s\nkind: %s\nitems:\n", apiVersion, kind)
		if count == 0 {
			buffered.WriteString("  []\n")
		}
	}
	for i := range count {
		if err := writeItem(buffered, format, i, item(i)); err != nil {
			return err
		}
	}
	if format == "json" {
		if count > 0 {
			buffered.WriteString("\n  ")
		}
		buffered.WriteString("]\n}\n")
	}
	return buffered.Flush()
}

const apiVersion = "pruner.image.alauda.io/v1"

func writeItem(out *bufio.Writer, format string, i int, item any) error {
	if format == "json" {
		text, err := json.MarshalIndent(item, "    ", "  ")
		if err != nil {
			return fmt.Errorf("encode row: %w", err)
		}
		if i > 0 {
			out.WriteByte(',')
		}
		out.WriteString("\n    ")
		_, err = out.Write(text)
		return err
	}
	text, err := yaml.Marshal(item)
	if err != nil {
		return fmt.Errorf("encode row: %w", err)
	}
	lead := "- "
	for line := range strings.Lines(string(text)) {
		out.WriteString(lead + line)
		lead = "  "
	}
	return nil
}

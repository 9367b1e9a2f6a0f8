package report

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"image.alauda.io/registry/pkg/pruner/references"
	"image.alauda.io/registry/pkg/pruner/registry"
)

// Actions of an item.
const (
	WouldDelete = "would-delete"
	Deleted     = "deleted"
	Skipped     = "skipped"
	Failed      = "failed"
	Kept        = "kept"
)

// Kinds of an item.
const (
	KindTagRevision = "tag-revision"
	KindImage       = "image"
	KindImageStream = "image-stream"
)

// Item is one line.
type Item struct {
	Action    string `json:"action"`
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
	Tag       string `json:"tag,omitempty"`
	Revision  *int   `json:"revision,omitempty"`
	Digest    string `json:"digest,omitempty"`
	SizeBytes int64  `json:"sizeBytes,omitempty"`
	Reason    string `json:"reason,omitempty"`
	Error     string `json:"error,omitempty"`
	// Age is printed in lines only.
	Age time.Duration `json:"-"`
}

// Summary counts what was done, or would be.
type Summary struct {
	ImagesDeleted        int   `json:"imagesDeleted"`
	TagRevisionsDeleted  int   `json:"tagRevisionsDeleted"`
	ImageStreamsUpdated  int   `json:"imageStreamsUpdated"`
	LayerLinksDeleted    int   `json:"layerLinksDeleted"`
	ManifestLinksDeleted int   `json:"manifestLinksDeleted"`
	BlobsDeleted         int   `json:"blobsDeleted"`
	BytesReclaimed       int64 `json:"bytesReclaimed"`
	Skipped              int   `json:"skipped"`
	Failed               int   `json:"failed"`
}

// Snapshot tells how much was looked at.
type Snapshot struct {
	Images       int            `json:"images"`
	ImageStreams int            `json:"imageStreams"`
	Roots        map[string]int `json:"roots,omitempty"`
	References   int            `json:"references"`
}

// Document is the machine-readable result.
type Document struct {
	APIVersion     string      `json:"apiVersion"`
	Kind           string      `json:"kind"`
	DryRun         bool        `json:"dryRun"`
	StartTime      metav1.Time `json:"startTime"`
	CompletionTime metav1.Time `json:"completionTime"`
	// Attempts is how many there were, if one did not do.
	Attempts int `json:"attempts,omitempty"`
	// Error is what the run ended with.
	Error    string            `json:"error,omitempty"`
	Options  map[string]string `json:"options,omitempty"`
	Summary  Summary           `json:"summary"`
	Snapshot Snapshot          `json:"snapshot"`
	// Collection is the registry's report about its last collection in this run.
	Collection        *registry.Collection `json:"collection,omitempty"`
	Items             []Item               `json:"items,omitempty"`
	InvalidReferences []references.Invalid `json:"invalidReferences,omitempty"`
}

// Report collects items and prints them in the wanted form.
type Report struct {
	Document
	out    io.Writer
	format string
	errors []string
}

// New starts a report that prints to out in the format text, json, yaml or jsonl.
func New(out io.Writer, format string, dryRun bool) *Report {
	return &Report{out: out, format: format, Document: Document{
		APIVersion: "pruner.image.alauda.io/v1", Kind: "PruneReport", DryRun: dryRun,
	}}
}

// NextAttempt keeps what was done and forgets the rest, because the whole run is made again.
func (r *Report) NextAttempt() {
	r.Attempts = max(r.Attempts, 1) + 1
	done := r.Summary
	done.Skipped, done.Failed = 0, 0
	if r.DryRun {
		done = Summary{}
	}
	r.Summary, r.Snapshot, r.Collection, r.InvalidReferences, r.errors = done, Snapshot{}, nil, nil, nil
	r.Items = slices.DeleteFunc(r.Items, func(item Item) bool { return item.Action != Deleted })
}

// End notes how the run ended and prints the summary or the document. Text has no summary of a run that
// failed before anything was decided.
func (r *Report) End(failure error, interrupted bool) error {
	if failure != nil {
		r.Error = failure.Error()
	}
	if r.format == "text" && failure != nil && !interrupted && r.Summary == (Summary{}) {
		return nil
	}
	return r.Finish()
}

// Add counts and, line by line formats, prints an item.
func (r *Report) Add(item Item) error {
	r.count(item)
	switch r.format {
	case "text":
		_, err := fmt.Fprintln(r.out, item.line())
		return err
	case "jsonl":
		return json.NewEncoder(r.out).Encode(item)
	}
	r.Items = append(r.Items, item)
	return nil
}

func (r *Report) count(item Item) {
	switch item.Action {
	case Skipped:
		r.Summary.Skipped++
	case Failed:
		r.Summary.Failed++
		if len(r.errors) < maxErrors {
			r.errors = append(r.errors, item.name()+": "+item.Error)
		}
	case Deleted, WouldDelete:
		switch item.Kind {
		case KindTagRevision:
			r.Summary.TagRevisionsDeleted++
		case KindImage:
			r.Summary.ImagesDeleted++
		case KindManifestLink:
			r.Summary.ManifestLinksDeleted++
		case KindLayerLink:
			r.Summary.LayerLinksDeleted++
		}
	}
}

// StreamUpdated counts one written, or to be written, image stream.
func (r *Report) StreamUpdated() { r.Summary.ImageStreamsUpdated++ }

// Finish prints the summary or the document.
func (r *Report) Finish() error {
	var text []byte
	var err error
	switch r.format {
	case "text":
		text = []byte(r.lastLine() + "\n")
	case "jsonl":
		text, err = json.Marshal(r.Document)
		text = append(text, '\n')
	case "yaml":
		text, err = yaml.Marshal(r.Document)
	default:
		text, err = json.MarshalIndent(r.Document, "", "  ")
		text = append(text, '\n')
	}
	if err != nil {
		return fmt.Errorf("encode report: %w", err)
	}
	_, err = r.out.Write(text)
	return err
}

// SummaryLine is the last line of the text form.
func (r *Report) SummaryLine() string {
	s := r.Summary
	verb := "deleted"
	if r.DryRun {
		verb = "would delete"
	}
	deleted := counted(s.ImagesDeleted, "images", s.TagRevisionsDeleted, "tag revisions")
	if s.ImageStreamsUpdated > 0 {
		update := "updated"
		if r.DryRun {
			update = "would update"
		}
		deleted = append(deleted, fmt.Sprintf("%s %d image streams", update, s.ImageStreamsUpdated))
	}
	deleted = append(deleted, counted(s.LayerLinksDeleted, "layer links", s.ManifestLinksDeleted, "manifest links")...)
	if s.BlobsDeleted > 0 {
		deleted = append(deleted, fmt.Sprintf("%d blobs (%s)", s.BlobsDeleted, Bytes(s.BytesReclaimed)))
	}
	rest := counted(s.Skipped, "skipped", s.Failed, "failed")
	if len(deleted)+len(rest) == 0 {
		return "Summary: nothing to prune"
	}
	for i, part := range rest {
		number, word, _ := strings.Cut(part, " ")
		rest[i] = word + " " + number
	}
	if len(deleted) > 0 && (s.ImagesDeleted+s.TagRevisionsDeleted > 0 || s.ImageStreamsUpdated == 0) {
		deleted[0] = verb + " " + deleted[0]
	}
	return "Summary: " + strings.Join(append(deleted, rest...), ", ")
}

// counted renders pairs of a number and a word, without those that are zero.
func counted(pairs ...any) []string {
	var parts []string
	for i := 0; i+1 < len(pairs); i += 2 {
		if number, ok := pairs[i].(int); ok && number > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", number, pairs[i+1]))
		}
	}
	return parts
}

func (i Item) name() string {
	switch {
	case i.Kind == KindTagRevision:
		return fmt.Sprintf("%s/%s:%s@%s", i.Namespace, i.Name, i.Tag, i.Digest)
	case i.Kind == KindManifestLink, i.Kind == KindLayerLink:
		return fmt.Sprintf("%s/%s@%s", i.Namespace, i.Name, i.Digest)
	case i.Digest != "":
		return i.Digest
	case i.Namespace == "":
		return i.Name
	}
	return i.Namespace + "/" + i.Name
}

// line is the text form: action, kind, name and detail, separated by tabs.
func (i Item) line() string {
	var detail []string
	if i.Revision != nil {
		detail = append(detail, fmt.Sprintf("revision=%d age=%s", *i.Revision, Age(i.Age)))
	}
	if i.Kind == KindImage || i.Kind == KindBlob && i.Digest != "" {
		detail = append(detail, fmt.Sprintf("size=%d", i.SizeBytes))
	}
	if i.Reason != "" {
		detail = append(detail, "reason="+OneLine(i.Reason))
	}
	if i.Error != "" {
		detail = append(detail, "error="+OneLine(i.Error))
	}
	return strings.Join([]string{i.Action, i.Kind, OneLine(i.name()), strings.Join(detail, " ")}, "\t")
}

// OneLine makes a text fit for a line on a terminal: white space becomes single blanks, and what a terminal would
// obey is replaced.
func OneLine(text string) string {
	printable := strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) || unicode.IsSpace(r) {
			return r
		}
		return unicode.ReplacementChar
	}, text)
	return strings.Join(strings.Fields(printable), " ")
}

// Age renders a duration by its greatest unit, such as 12d.
func Age(age time.Duration) string {
	switch {
	case age >= 24*time.Hour:
		return fmt.Sprintf("%dd", age/(24*time.Hour))
	case age >= time.Hour:
		return fmt.Sprintf("%dh", age/time.Hour)
	case age >= time.Minute:
		return fmt.Sprintf("%dm", age/time.Minute)
	}
	return fmt.Sprintf("%ds", max(age, 0)/time.Second)
}

package recovery

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// progressInterval is the time between two lines about progress.
const progressInterval = 10 * time.Second

// problem reports something that recovery cannot repair.
func (r *Recovery) problem(object, format string, args ...any) error {
	r.summary.Problems++
	return r.line(object, fmt.Sprintf(format, args...))
}

// repairable reports a problem together with what is done about it, now or by recover.
func (r *Recovery) repairable(object, problem, repair string) error {
	r.summary.Problems++
	if !r.recovers() {
		return r.line(object, problem+"; recover would "+repair)
	}
	r.summary.Repaired++
	return r.line(object, problem+"; repaired: "+repair)
}

// line writes one line. Names come out of a storage that anybody may have written to, so
// nothing in them can make up another line.
func (r *Recovery) line(object, text string) error {
	clean := strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f {
			return '?'
		}
		return c
	}, object+": "+text)
	if _, err := fmt.Fprintln(r.Output, clean); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

// progress tells now and then how far the work is.
func (r *Recovery) progress(phase string) {
	if now := r.Now(); now.Sub(r.told) >= progressInterval {
		r.told = now
		fmt.Fprintf(r.Progress, "%s: %d repositories, %d manifests, %d images, %d image streams, %d problems after %s\n", phase,
			r.summary.Repositories, r.summary.Manifests, r.summary.Images, r.summary.Streams, r.summary.Problems, now.Sub(r.started).Round(time.Second))
	}
}

// Print writes the summary in sentences.
func (s Summary) Print(w io.Writer, mode Mode) error {
	text := fmt.Sprintf("Looked at %d repositories with %d manifests in the storage, %d images and %d image streams.\n", s.Repositories, s.Manifests, s.Images, s.Streams)
	switch {
	case s.Problems == 0:
		text += "Found no problems.\n"
	case mode == Recover:
		text += fmt.Sprintf("Found %d problems, repaired %d, %d are left.\n", s.Problems, s.Repaired, s.Left())
	default:
		text += fmt.Sprintf("Found %d problems. Nothing was changed; -restore-mode=recover repairs what says so.\n", s.Problems)
	}
	_, err := io.WriteString(w, text)
	return err
}

package transfer

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
)

// Summary counts what happened to the objects of each resource, in the order of the resources.
type Summary struct {
	rows  []string
	count map[string]map[string]int
}

func (s *Summary) add(resource, what string) {
	if s.count == nil {
		s.count = map[string]map[string]int{}
	}
	if s.count[resource] == nil {
		s.count[resource] = map[string]int{}
		s.rows = append(s.rows, resource)
	}
	s.count[resource][what]++
}

// Count returns how often something happened to objects of a resource.
func (s *Summary) Count(resource, what string) int { return s.count[resource][what] }

// Incomplete tells whether an object was left out because of a fault.
func (s *Summary) Incomplete() bool {
	for _, counts := range s.count {
		if counts[Damaged]+counts[Failed] > 0 {
			return true
		}
	}
	return false
}

// String is one line for each resource.
func (s *Summary) String() string {
	var out bytes.Buffer
	for _, row := range s.rows {
		fmt.Fprintf(&out, "%s:", row)
		for _, what := range []string{Exported, Created, Unchanged, Kept, Replaced, Sound, Damaged, Failed} {
			if n := s.count[row][what]; n > 0 {
				fmt.Fprintf(&out, " %d %s", n, what)
			}
		}
		fmt.Fprintln(&out)
	}
	return out.String()
}

// What a Summary counts.
const (
	Exported  = "exported"
	Created   = "created"
	Unchanged = "unchanged"
	Kept      = "kept (it differs; --overwrite replaces it)"
	Replaced  = "replaced"
	Sound     = "sound"
	Damaged   = "damaged"
	Failed    = "failed"
)

// Report takes one line about one object that is not as it should be.
type Report func(format string, args ...any)

// Export writes every object as one line of JSON: images first, then streams. Damaged records are
// reported, counted, and left out.
func Export(ctx context.Context, from *Store, out io.Writer, report Report) (*Summary, error) {
	summary := &Summary{}
	buffered := bufio.NewWriterSize(out, 1<<20)
	for _, r := range from.resources {
		err := r.walk(ctx, func(e entry) error {
			if e.err != nil {
				report("damaged: %s %s: %v", r.kind, e.key, e.err)
				summary.add(r.Resource.Resource.Resource, Damaged)
				return nil
			}
			summary.add(r.Resource.Resource.Resource, Exported)
			return writeLine(buffered, e.obj.json)
		})
		if err != nil {
			return summary, err
		}
	}
	return summary, buffered.Flush()
}

// writeLine writes JSON without line breaks in it. What the server writes has none but at the end.
func writeLine(out *bufio.Writer, data []byte) error {
	data = bytes.TrimSpace(data)
	if bytes.ContainsAny(data, "\r\n") {
		var compact bytes.Buffer
		if err := json.Compact(&compact, data); err != nil {
			return err
		}
		data = compact.Bytes()
	}
	if _, err := out.Write(data); err != nil {
		return err
	}
	return out.WriteByte('\n')
}

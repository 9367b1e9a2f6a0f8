package handlers

import (
	"fmt"
	"strconv"
	"strings"
)

// contentRange is a Content-Range of an upload: positions of the first and last byte.
type contentRange struct{ first, last int64 }

// parseContentRange reads "a-b", also with the prefix "bytes" and a total size.
func parseContentRange(text string) (contentRange, error) {
	text = strings.TrimSpace(strings.TrimPrefix(text, "bytes"))
	text = strings.TrimPrefix(text, "=")
	text, _, _ = strings.Cut(text, "/")
	first, last, found := strings.Cut(text, "-")
	var chunk contentRange
	var firstErr, lastErr error
	chunk.first, firstErr = parsePosition(first)
	chunk.last, lastErr = parsePosition(last)
	if !found || firstErr != nil || lastErr != nil || chunk.last < chunk.first {
		return contentRange{}, fmt.Errorf("content range must have the form <first>-<last>")
	}
	return chunk, nil
}

func parsePosition(text string) (int64, error) {
	if text == "" || strings.Trim(text, "0123456789") != "" {
		return 0, fmt.Errorf("not a position")
	}
	return strconv.ParseInt(text, 10, 64)
}

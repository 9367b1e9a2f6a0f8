//go:build component

package datapath

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// uploadAttempts bounds how often a session is begun again when nobody can go on with it.
const uploadAttempts = 4

// upload brings a blob into the repository by one of the ways that clients have. Most ask
// first; then they rely on what they were told.
func (w *worker) upload(ctx context.Context, content []byte) bool {
	d := digestOf(content)
	if w.random.IntN(5) > 0 && w.do(ctx, message{method: http.MethodHead, path: w.path("blobs", d)}).status == http.StatusOK {
		w.tally.skipped.Add(1)
		return true
	}
	switch w.random.IntN(3) {
	case 0:
		if w.mount(ctx, content) {
			return true
		}
	case 1:
		for range uploadAttempts {
			if w.uploadInChunks(ctx, content) {
				w.tally.chunked.Add(1)
				return true
			}
		}
	}
	got := w.do(ctx, message{method: http.MethodPost, path: w.path("blobs", "uploads") + "/?digest=" + d, body: content})
	return w.expect(got, "upload of "+d, http.StatusCreated)
}

// mount takes the blob from another repository, or goes on with the session that comes
// instead.
func (w *worker) mount(ctx context.Context, content []byte) bool {
	d := digestOf(content)
	from := w.world.workers[w.random.IntN(len(w.world.workers))].repository
	got := w.do(ctx, message{method: http.MethodPost, path: w.path("blobs", "uploads") + "/?mount=" + d + "&from=" + from})
	switch got.status {
	case http.StatusCreated:
		w.tally.mounted.Add(1)
		return true
	case http.StatusAccepted:
		return w.finish(ctx, d, location(got), content)
	}
	return w.expect(got, "mount of "+d, http.StatusCreated, http.StatusAccepted)
}

// uploadInChunks sends every chunk to any of the replicas.
func (w *worker) uploadInChunks(ctx context.Context, content []byte) bool {
	began := w.do(ctx, message{method: http.MethodPost, path: w.path("blobs", "uploads") + "/"})
	if !w.expect(began, "begin of an upload", http.StatusAccepted) {
		return false
	}
	place, sent := location(began), 0
	if w.random.IntN(10) == 0 {
		return false // given up
	}
	for tries := 0; sent < len(content) && tries < 8; tries++ {
		end := min(len(content), sent+2+w.random.IntN(len(content)))
		header := http.Header{"Content-Range": {fmt.Sprintf("%d-%d", sent, end-1)}}
		got := w.do(ctx, message{method: http.MethodPatch, path: place, header: header, body: content[sent:end], mediaType: "application/octet-stream"})
		if got.status != http.StatusAccepted {
			// It was cut off, and perhaps taken: ask how far the session is.
			got = w.do(ctx, message{method: http.MethodGet, path: place})
			if got.status != http.StatusNoContent {
				return false
			}
		}
		place = location(got)
		_, last, _ := strings.Cut(got.header.Get("Range"), "-")
		at, err := strconv.Atoi(last)
		if err != nil {
			return false
		}
		if sent = at + 1; at == 0 {
			sent = 0 // "0-0" is nothing: no chunk has one byte
		}
	}
	return sent == len(content) && w.finish(ctx, digestOf(content), place, nil)
}

// finish ends a session. If the answer was lost the blob may be there all the same.
func (w *worker) finish(ctx context.Context, d, place string, rest []byte) bool {
	separator := "?"
	if strings.Contains(place, "?") {
		separator = "&"
	}
	got := w.do(ctx, message{method: http.MethodPut, path: place + separator + "digest=" + d, body: rest, mediaType: "application/octet-stream"})
	return got.status == http.StatusCreated || w.do(ctx, message{method: http.MethodHead, path: w.path("blobs", d)}).status == http.StatusOK
}

// location is where a session goes on, at whichever replica.
func location(a answer) string {
	parsed, err := url.Parse(a.header.Get("Location"))
	if err != nil {
		return ""
	}
	return parsed.RequestURI()
}
